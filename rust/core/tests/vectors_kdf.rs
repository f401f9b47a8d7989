//! Derivation against the worked values of the format, and against other implementations of HMAC, HKDF and CMAC.

use itron_core::crypto::kdf::{self, Derivation, Kdf, Label, MasterKey};

const DEVICE: [u8; 8] = [0, 0, 0, 0, 5, 0xf5, 0xe1, 1];

/// The master key 000102..1f of the worked example.
fn example_master() -> MasterKey {
    MasterKey::from_bytes(&std::array::from_fn::<u8, 32, _>(|at| at as u8))
}

fn example(kdf: Kdf, length: usize) -> Derivation<'static> {
    Derivation { kdf, label: Label::ReadEnc, utility: b"UTIL0001", key_version: 4, extra: None, length }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn derive(master: &MasterKey, derivation: &Derivation<'_>, ids: &[[u8; 8]]) -> Vec<u8> {
    let mut out = vec![0; ids.len() * derivation.length];
    kdf::derive_many(master, derivation, ids, &mut out).expect("lengths are right");
    out
}

#[test]
fn worked_values_of_the_format() {
    let of = |kdf, length| hex(&derive(&example_master(), &example(kdf, length), &[DEVICE]));
    assert_eq!(of(Kdf::HmacSha256, 16), "3542c8265c8ee1d264deb965e9a1b33c");
    assert_eq!(of(Kdf::HmacSha256, 32), "e9889755415327923b40faac36ebed058330232e2358274169a1ac9b13d807dc");
    assert_eq!(of(Kdf::CmacAes256, 16), "eb12889618b324ff50191eb16b2509a2");
}
