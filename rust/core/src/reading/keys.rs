//! Where the keys of readings come from: a column, a table by device, or one master key.

use super::Profile;
use super::device::{DeviceId, as_named};
use super::secrets::Secrets;
use crate::crypto::kdf::{self, Derivation, Kdf, KdfError, Label, MasterKey};
use std::collections::{HashMap, TryReserveError};
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

impl<'a> KeysOfRow<'a> {
    /// The keys of a row of a column, copied to two rooms. A key that is longer than any stays one of a wrong length.
    #[inline]
    pub fn of(column: &(impl KeyColumn + ?Sized), row: usize, rooms: &'a mut [[u8; LONGEST_KEY]; 2]) -> Self {
        let [key, authentication_key] = rooms;
        let lengths = [column.key(row, key), column.authentication_key(row, authentication_key)];
        // No key has all the bytes of the room but one.
        let cut = |room: &'a [u8; LONGEST_KEY], length: usize| room.get(..length).unwrap_or(&room[..LONGEST_KEY - 1]);
        Self {
            key: lengths[0].map(|length| cut(key, length)),
            authentication_key: lengths[1].map(|length| cut(authentication_key, length)),
            check_value: column.check_value(row),
        }
    }
}

/// The most bytes of a key.
pub const LONGEST_KEY: usize = 32;

/// One key per row, copied a single time. Each call returns how many bytes the row's key has and copies as many as there is room
/// for; `None` where there is none.
pub trait KeyColumn: Sync {
    /// The key that opens.
    fn key(&self, row: usize, room: &mut [u8; LONGEST_KEY]) -> Option<usize>;
    /// The second key of the tags of dlms.
    fn authentication_key(&self, row: usize, room: &mut [u8; LONGEST_KEY]) -> Option<usize>;
    /// The check value of the key, where it is known.
    fn check_value(&self, row: usize) -> Option<[u8; CHECK_VALUE]>;
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

    /// Room, so that no key is left behind in memory that grew too small.
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
