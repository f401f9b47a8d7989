//! Where the keys of readings come from: a column, a table by device, or one master key.

use super::Profile;
use super::device::{DeviceId, as_named};
use crate::crypto::kdf::{self, Derivation, Kdf, KdfError, Label, MasterKey};
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

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

/// A key a row.
pub trait KeyColumn: Sync {
    /// The keys of a row.
    fn keys(&self, row: usize) -> KeysOfRow<'_>;
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
    bytes: Zeroizing<Vec<u8>>,
    /// Where each ends; equal to the one before for a device without.
    ends: Vec<usize>,
}

impl Side {
    fn push(&mut self, key: Option<&[u8]>) {
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.ends.push(self.bytes.len());
    }

    fn get(&self, at: usize) -> Option<&[u8]> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.bytes.get(start..*self.ends.get(at)?).filter(|key| !key.is_empty())
    }

    /// Room, so that no key is left behind in memory that grew too small.
    fn reserve(&mut self, keys: usize, bytes: usize) -> Result<(), std::collections::TryReserveError> {
        self.ends.try_reserve_exact(keys)?;
        self.bytes.try_reserve_exact(bytes)
    }
}

impl KeyTable {
    /// A table with room for that many devices, and that many bytes of each kind of keys together.
    ///
    /// # Errors
    /// There is not that much memory.
    pub fn with_capacity(
        devices: usize,
        key_bytes: usize,
        authentication_key_bytes: usize,
        by_name: bool,
    ) -> Result<Self, std::collections::TryReserveError> {
        let mut table = Self { by_name, ..Self::default() };
        table.places.try_reserve(devices)?;
        table.keys.reserve(devices, key_bytes)?;
        table.authentication_keys.reserve(devices, authentication_key_bytes)?;
        Ok(table)
    }

    /// Adds a device. `profile` is that of its name; `None` where it came as 8 bytes. False, and nothing is added, where the device
    /// is there already.
    pub fn add(&mut self, profile: Option<Profile>, device: DeviceId, keys: KeysOfRow<'_>) -> bool {
        let place = self.keys.ends.len() as u32;
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
        self.keys.ends.len()
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
    pub(super) fn keys(&self, label: Label, length: usize, ids: &[DeviceId]) -> Result<Zeroizing<Vec<u8>>, KdfError> {
        let mut keys = Zeroizing::new(vec![0; ids.len() * length]);
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
