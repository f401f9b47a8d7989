//! Where the keys of readings come from: a column, a table by device, or one master key.

use super::Profile;
use super::device::{DeviceId, as_named};
use super::secrets::Secrets;
use crate::crypto::kdf::{self, Derivation, Kdf, KdfError, Label, MasterKey};
use crate::parallel::stop::Stop;
use std::collections::{HashMap, TryReserveError};
use std::ops::Range;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key check value.
pub const CHECK_VALUE: usize = 4;

/// The keys of one telegram; `None` where there is none.
#[derive(Clone, Copy, Default)]
pub struct KeysOfRow<'a> {
    /// The key that opens.
    pub key: Option<&'a [u8]>,
    /// The second key of the tags of dlms.
    pub authentication_key: Option<&'a [u8]>,
    /// The check value of the key, where it is known.
    pub check_value: Option<[u8; CHECK_VALUE]>,
}

/// The most bytes of a key.
pub const LONGEST_KEY: usize = 32;

/// Keys that were copied to a room each, wiped when dropped. A key that is longer than any stays one of a wrong length.
#[derive(Default)]
pub struct CopiedKeys {
    rooms: Secrets,
    lengths: Vec<Option<usize>>,
}

impl CopiedKeys {
    /// The keys of consecutive rows, of which `copy` copies as many bytes as there is room for, a single time. It returns how many
    /// the row's key has; `None` where there is none.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn of(
        rows: Range<usize>,
        mut copy: impl FnMut(usize, &mut [u8; LONGEST_KEY]) -> Option<usize>,
    ) -> Result<Self, Stop> {
        let mut lengths = Vec::new();
        lengths.try_reserve_exact(rows.len())?;
        let mut rooms = Secrets::zeros(rows.len() * LONGEST_KEY)?;
        lengths.extend(rows.zip(rooms.as_chunks_mut().0).map(|(row, room)| copy(row, room)));
        Ok(Self { rooms, lengths })
    }

    /// The key of row `at`, counted from the first that was copied.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let length = self.lengths.get(at).copied().flatten()?;
        let room: &[u8; LONGEST_KEY] = self.rooms.as_chunks().0.get(at)?;
        // No key has all the bytes of the room but one.
        Some(room.get(..length).unwrap_or(&room[..LONGEST_KEY - 1]))
    }
}

/// One key per row.
pub trait KeyColumn: Sync {
    /// The keys that open.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    fn keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop>;
    /// The second keys of the tags of dlms.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    fn authentication_keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop>;
    /// The check value of a row's key, where it is known.
    fn check_value(&self, row: usize) -> Option<[u8; CHECK_VALUE]>;
}

/// The keys of consecutive rows of a column.
pub struct Copied<'a, C: ?Sized> {
    column: &'a C,
    start: usize,
    keys: CopiedKeys,
    authentication_keys: CopiedKeys,
}

impl<'a, C: KeyColumn + ?Sized> Copied<'a, C> {
    /// Copies them, a single time.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn of(column: &'a C, rows: Range<usize>) -> Result<Self, Stop> {
        let (start, keys) = (rows.start, column.keys(rows.clone())?);
        Ok(Self { column, start, keys, authentication_keys: column.authentication_keys(rows)? })
    }

    /// The keys of row `at`, counted from the first that was copied.
    #[must_use]
    #[inline]
    pub fn keys(&self, at: usize) -> KeysOfRow<'_> {
        KeysOfRow {
            key: self.keys.get(at),
            authentication_key: self.authentication_keys.get(at),
            check_value: self.column.check_value(self.start + at),
        }
    }
}

/// The keys of a call.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// Each row's own.
    Column(&'a dyn KeyColumn),
    /// Joined by the telegram's own device.
    Table(&'a KeyTable),
    /// Derived for the devices met.
    Source(&'a KeySource),
}

/// Keys by device, made once and never shown.
#[derive(Default)]
pub struct KeyTable {
    places: HashMap<(Option<Profile>, DeviceId), u32>,
    keys: Side,
    authentication_keys: Side,
    check_values: Vec<[u8; CHECK_VALUE]>,
    by_name: bool,
}

/// One kind of keys, side by side, wiped when dropped.
#[derive(Default)]
struct Side {
    keys: Zeroizing<Vec<[u8; LONGEST_KEY]>>,
    lengths: Vec<Option<u8>>,
}

impl Side {
    fn push(&mut self, key: Option<&[u8]>) {
        let mut room = [0; LONGEST_KEY];
        let key = key.map(|key| &key[..key.len().min(LONGEST_KEY)]);
        room[..key.map_or(0, <[u8]>::len)].copy_from_slice(key.unwrap_or_default());
        self.keys.push(room);
        self.lengths.push(key.map(|key| key.len() as u8));
        room.zeroize();
    }

    fn get(&self, at: usize) -> Option<&[u8]> {
        let length = (*self.lengths.get(at)?)?;
        self.keys.get(at)?.get(..length.into())
    }

    /// Room, so that no key stays in memory that was too small.
    fn reserve(&mut self, keys: usize) -> Result<(), TryReserveError> {
        self.lengths.try_reserve_exact(keys)?;
        self.keys.try_reserve_exact(keys)
    }
}

impl KeyTable {
    /// A table with room for that many devices.
    ///
    /// # Errors
    /// There is not that much memory.
    pub fn with_capacity(devices: usize, by_name: bool) -> Result<Self, TryReserveError> {
        let mut table = Self { by_name, ..Self::default() };
        table.places.try_reserve(devices)?;
        table.keys.reserve(devices)?;
        table.authentication_keys.reserve(devices)?;
        Ok(table)
    }

    /// Adds a device. `profile` is that of its name; `None` where it came as 8 bytes. False, and nothing is added, where the device
    /// is there already.
    pub fn add(&mut self, profile: Option<Profile>, device: DeviceId, keys: KeysOfRow<'_>) -> bool {
        let place = self.keys.lengths.len() as u32;
        match self.places.entry((profile, device)) {
            std::collections::hash_map::Entry::Occupied(_) => return false,
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(place),
        };
        self.keys.push(keys.key);
        self.authentication_keys.push(keys.authentication_key);
        self.check_values.extend(keys.check_value);
        true
    }

    /// Devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.lengths.len()
    }

    /// Whether there is no device.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of a device.
    #[must_use]
    pub fn get(&self, profile: Profile, device: DeviceId) -> KeysOfRow<'_> {
        let asked = if self.by_name { (Some(profile), as_named(profile, device)) } else { (None, device) };
        let Some(&place) = self.places.get(&asked) else { return KeysOfRow::default() };
        let place = place as usize;
        KeysOfRow {
            key: self.keys.get(place),
            authentication_key: self.authentication_keys.get(place),
            check_value: self.check_values.get(place).copied(),
        }
    }
}

/// One master key, from which the keys of the devices met are derived and never handed out.
pub struct KeySource {
    master: Arc<MasterKey>,
    kdf: Kdf,
    utility: Vec<u8>,
    key_version: u64,
}

impl KeySource {
    /// A source whose derivations are right.
    ///
    /// # Errors
    /// [`KdfError`] when a length is wrong.
    pub fn new(master: Arc<MasterKey>, kdf: Kdf, utility: Vec<u8>, key_version: u64) -> Result<Self, KdfError> {
        let source = Self { master, kdf, utility, key_version };
        kdf::output_length(&source.master, &source.derivation(Label::ReadEnc, 16), 0)?;
        Ok(source)
    }

    fn derivation(&self, label: Label, length: usize) -> Derivation<'_> {
        Derivation { kdf: self.kdf, label, utility: &self.utility, key_version: self.key_version, extra: None, length }
    }

    /// The keys of devices, of that many bytes each, side by side.
    pub(super) fn keys(&self, label: Label, length: usize, ids: &[DeviceId]) -> Result<Secrets, KdfError> {
        let mut keys = Secrets::zeros(ids.len() * length).map_err(KdfError::Stopped)?;
        kdf::derive_many(&self.master, &self.derivation(label, length), ids, &mut keys)?;
        Ok(keys)
    }

    /// The check values of the keys of devices.
    pub(super) fn check_values(&self, ids: &[DeviceId]) -> Result<Vec<[u8; CHECK_VALUE]>, KdfError> {
        let mut values = vec![[0; CHECK_VALUE]; ids.len()];
        let derivation = self.derivation(Label::ReadEnc, 16);
        kdf::check_values(&self.master, &derivation, ids, values.as_flattened_mut())?;
        Ok(values)
    }
}
