//! Tables of known keys, kept by this process: bounded in bytes, the least recently used forgotten first.
//!
//! A table costs its building; without one each signature costs more. Which is cheaper in the end is not known beforehand, so a
//! key first pays what a table costs, in rows verified without, and then gets it: never more than twice the best.

use super::ml_dsa::Prepared;
use crate::parallel::per_process::PerProcess;
use ::ml_dsa::{MlDsa44, MlDsa65};
use itron_core_kernels::{ed25519, features, p256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// All tables of one algorithm take at most this much of a process's memory.
pub const LIMIT_BYTES: usize = 256 << 20;
/// Keys without a table are forgotten beyond this many.
const MAX_KEYS: usize = 1 << 16;

/// Windows, and from how many rows of one key each is worth its building; both rise.
type Sizes = &'static [(u32, u64)];

/// In lanes, built in 0.11, 0.17, 0.67 and 1.3 ms, against 3.4 us a row without, then 0.88, 0.74, 0.66 and 0.65 us.
const ED25519_LANES: Sizes = &[(6, 50), (8, 500), (11, 8_000), (12, 50_000)];
/// Portable, built in 0.37, 1.1, 2.0 and 8.9 ms, against 35 us a row without, then 7.6, 6.7, 6.4 and 6.0 us.
const ED25519_PORTABLE: Sizes = &[(6, 14), (8, 1_200), (9, 6_000), (11, 25_000)];
/// In lanes, built in 0.11, 0.20, 0.50 and 2.7 ms, against 6.5 us a row without, then 1.23, 1.03, 0.93 and 0.85 us.
const P256_LANES: Sizes = &[(6, 25), (8, 400), (10, 2_000), (13, 10_000)];
/// Portable, built in 0.25, 0.58, 1.4 and 8.5 ms, against 58 us a row without, then 7.0, 5.8, 5.3 and 4.7 us.
const P256_PORTABLE: Sizes = &[(6, 4), (8, 250), (10, 2_000), (13, 20_000)];

/// A key that is prepared once: it costs about as much as one row, and pays at the second.
const ML_DSA: Sizes = &[(0, 1)];

/// Rows that kernels in lanes verify without tables in the time of one.
const LANES: usize = 8;

/// How many rows without tables one row of a call of `rows` costs: lanes without a row are paid for too.
pub(crate) fn share_of_lanes(rows: usize) -> u64 {
    let lanes = if features::chosen().avx512ifma { LANES } else { 1 };
    (lanes / rows.clamp(1, lanes)) as u64
}

/// A table that the kernels verify with.
pub(crate) trait Table: Sized + Send + Sync + 'static {
    /// What the key is known by here.
    type Key: Clone + Eq + std::hash::Hash + Send + Sync;
    /// The sizes worth building with the kernels in use.
    fn sizes() -> Sizes;
    fn size_of_window(window: u32) -> usize;
    fn cache() -> &'static Cache<Self>;
}

impl Table for ed25519::Table {
    type Key = [u8; 32];

    fn sizes() -> Sizes {
        if features::chosen().avx512ifma { ED25519_LANES } else { ED25519_PORTABLE }
    }

    fn size_of_window(window: u32) -> usize {
        Self::size_of_window(window)
    }

    fn cache() -> &'static Cache<Self> {
        static CACHE: PerProcess<Cache<ed25519::Table>> = PerProcess::new();
        CACHE.get()
    }
}

impl Table for p256::Table {
    type Key = [u8; 64];

    fn sizes() -> Sizes {
        if features::chosen().avx512ifma { P256_LANES } else { P256_PORTABLE }
    }

    fn size_of_window(window: u32) -> usize {
        Self::size_of_window(window)
    }

    fn cache() -> &'static Cache<Self> {
        static CACHE: PerProcess<Cache<p256::Table>> = PerProcess::new();
        CACHE.get()
    }
}

/// What is prepared of an ML-DSA key. It is known by its thumbprint, which is shorter than the key.
macro_rules! prepared_table {
    ($parameters:ty) => {
        impl Table for Prepared<$parameters> {
            type Key = [u8; 32];

            fn sizes() -> Sizes {
                ML_DSA
            }

            fn size_of_window(_window: u32) -> usize {
                Self::size()
            }

            fn cache() -> &'static Cache<Self> {
                static CACHE: PerProcess<Cache<Prepared<$parameters>>> = PerProcess::new();
                CACHE.get()
            }
        }
    };
}

prepared_table!(MlDsa44);
prepared_table!(MlDsa65);

/// The tables of one algorithm.
pub(crate) struct Cache<T: Table> {
    keys: Mutex<Keys<T>>,
}

impl<T: Table> Default for Cache<T> {
    fn default() -> Self {
        Self { keys: Mutex::new(Keys { slots: HashMap::new(), clock: 0, bytes: 0 }) }
    }
}

struct Keys<T: Table> {
    slots: HashMap<T::Key, Slot<T>>,
    clock: u64,
    bytes: usize,
}

struct Slot<T> {
    /// Rows verified with this key since it last lost its table, those without at their price.
    rows: u64,
    last_used: u64,
    table: Option<Planned<T>>,
}

/// A table that is built, or is being built by the thread that first needs it.
struct Planned<T> {
    window: u32,
    cell: Arc<OnceLock<Option<Arc<T>>>>,
}

impl<T> Clone for Planned<T> {
    fn clone(&self) -> Self {
        Self { window: self.window, cell: Arc::clone(&self.cell) }
    }
}

impl<T: Table> Cache<T> {
    /// The table for `rows` signatures of `key`, of which `expected` are to come in this call. `None`: verify without, each row
    /// at the price of `price`.
    ///
    /// `build` makes the table of a window; where it makes none the key is verified without.
    pub(crate) fn table(
        &self,
        key: &T::Key,
        rows: u64,
        price: u64,
        expected: u64,
        build: impl FnOnce(u32) -> Option<T>,
    ) -> Option<Arc<T>> {
        let Planned { window, cell } = self.plan(key, rows, price, expected)?;
        cell.get_or_init(|| build(window).map(Arc::new)).clone()
    }

    /// Bytes held for `key`.
    pub(crate) fn bytes_of(&self, key: &T::Key) -> usize {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = keys.slots.get(key).and_then(|slot| slot.table.as_ref());
        planned.map_or(0, |planned| T::size_of_window(planned.window))
    }

    fn plan(&self, key: &T::Key, rows: u64, price: u64, expected: u64) -> Option<Planned<T>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.clock += 1;
        let clock = keys.clock;
        let room = LIMIT_BYTES / (keys.tables() + 1);
        if keys.slots.len() > MAX_KEYS {
            keys.slots.retain(|_, slot| slot.table.is_some());
        }
        let slot = keys.slots.entry(key.clone()).or_insert(Slot { rows: 0, last_used: clock, table: None });
        let price = if slot.table.is_some() { 1 } else { price };
        slot.rows = slot.rows.saturating_add(rows * price);
        slot.last_used = clock;
        let volume = slot.rows.max(expected);
        let affordable = |&&(window, from): &&(u32, u64)| volume >= from && T::size_of_window(window) <= room;
        let wanted = T::sizes().iter().rev().find(affordable).map(|&(window, _)| window);
        let held = slot.table.as_ref().map(|planned| planned.window);
        if wanted > held {
            let window = wanted?;
            slot.table = Some(Planned { window, cell: Arc::default() });
            keys.bytes += T::size_of_window(window);
            keys.bytes -= held.map_or(0, T::size_of_window);
            keys.forget_beyond_limit(clock);
        }
        keys.slots.get(key)?.table.clone()
    }
}

impl<T: Table> Keys<T> {
    fn tables(&self) -> usize {
        // Every window is at least the smallest, so this never says fewer than there are of the largest.
        T::sizes().last().map_or(0, |&(window, _)| self.bytes / T::size_of_window(window))
    }

    /// Drops the least recently used tables, never the one of `newest`, until the limit is kept.
    fn forget_beyond_limit(&mut self, newest: u64) {
        while self.bytes > LIMIT_BYTES {
            let with_table = self.slots.values_mut().filter(|slot| slot.table.is_some() && slot.last_used < newest);
            let Some(oldest) = with_table.min_by_key(|slot| slot.last_used) else { return };
            let window = oldest.table.take().map_or(0, |planned| planned.window);
            oldest.rows = 0;
            self.bytes -= T::size_of_window(window);
        }
    }
}
