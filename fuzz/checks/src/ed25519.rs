//! Ed25519 signatures of every kind, and the verdicts of every path.

use crate::portable::portable;
use crate::source::{Source, pieces};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use itron_core_kernels::ed25519 as lanes;
use portable::ed25519 as plain;
use sha2::{Digest, Sha512};
use std::sync::LazyLock;

/// L, little-endian.
const L: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
/// 2^252, little-endian.
const TOP: [u8; 32] = {
    let mut power = [0; 32];
    power[31] = 0x10;
    power
};
/// Windows of the tables kept, two of them of each key.
const WINDOWS: [u32; 4] = [4, 6, 8, 9];

/// A key `[secret]B + T` with its tables, T of order 8 or less.
struct Key {
    secret: Scalar,
    encoded: [u8; 32],
    tables: Vec<(lanes::Table, plain::Table)>,
}

impl Key {
    fn new(secret: Scalar, torsion: EdwardsPoint, windows: &[u32]) -> Self {
        let encoded = (B * secret + torsion).compress().to_bytes();
        let both = |&window: &u32| Some((lanes::Table::new(&encoded, window)?, plain::Table::new(&encoded, window)?));
        let tables = windows.iter().map(|window| both(window).expect("a canonical key")).collect();
        Self { secret, encoded, tables }
    }
}

/// Ordinary keys, keys with a torsion component, keys of small order (their secret is 0).
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let secret = |seed: u8| Scalar::hash_from_bytes::<Sha512>(&[seed]);
    let ordinary = (0..4).map(|seed| (secret(seed), EIGHT_TORSION[0]));
    let mixed = (4..6).map(|seed| (secret(seed), EIGHT_TORSION[usize::from(seed) - 3]));
    let small = [0, 1, 4].map(|index| (Scalar::ZERO, EIGHT_TORSION[index]));
    let next_to_b = [(Scalar::ONE, EIGHT_TORSION[0]), (-Scalar::ONE, EIGHT_TORSION[0])];
    let all = ordinary.chain(mixed).chain(small).chain(next_to_b);
    let windows = |index: usize| [WINDOWS[index % 4], WINDOWS[(index + 1) % 4]];
    all.enumerate().map(|(index, (secret, torsion))| Key::new(secret, torsion, &windows(index))).collect()
});

/// A signature with its key, by place, or by its bytes alone.
struct Case {
    key: Option<usize>,
    window: usize,
    encoded: [u8; 32],
    signature: [u8; 64],
    message: Vec<u8>,
    cuts: [usize; 3],
}

impl Case {
    fn new(source: &mut Source<'_>, earlier: &[Self]) -> Self {
        let key = source.below(KEYS.len());
        let length = source.below(300);
        let (message, cuts) = (source.noise(length), source.cuts(length));
        let signature = sign(source, &KEYS[key], &message);
        let encoded = KEYS[key].encoded;
        let mut case = Self { key: Some(key), window: source.below(2), encoded, signature, message, cuts };
        case.spoil(source, earlier);
        case
    }

    fn spoil(&mut self, source: &mut Source<'_>, earlier: &[Self]) {
        let bit = 1 << source.below(8);
        match source.byte() % 16 {
            0 => self.signature[source.below(64)] ^= bit,
            1 => self.signature = source.array(),
            2 => self.signature[..32].copy_from_slice(&odd_point(source)),
            3 => self.signature[32..].copy_from_slice(&scalar_bytes(source)),
            4 => self.add_l(),
            5 => self.message.iter_mut().take(1).for_each(|byte| *byte ^= bit),
            6 => (self.key, self.encoded) = (None, source.array()),
            7 => (self.key, self.encoded) = (None, odd_point(source)),
            8 => {
                if let Some(other) = earlier.get(source.below(earlier.len() + 1)) {
                    self.signature = other.signature;
                }
            }
            9 => self.key = None,
            _ => {}
        }
    }

    /// S + L, where that has 256 bits.
    fn add_l(&mut self) {
        let mut carry = 0;
        for (byte, l) in self.signature[32..].iter_mut().zip(L) {
            carry += u16::from(*byte) + u16::from(l);
            *byte = carry as u8;
            carry >>= 8;
        }
    }

    fn has_tables(&self) -> bool {
        self.key.is_some()
    }

    /// What ed25519-dalek says, and that the key is canonical.
    fn expected(&self) -> bool {
        let point = CompressedEdwardsY(self.encoded).decompress();
        let canonical = point.is_some_and(|point| point.compress().to_bytes() == self.encoded);
        let key = VerifyingKey::from_bytes(&self.encoded);
        let verifies = |key: VerifyingKey| key.verify(&self.message, &Signature::from_bytes(&self.signature)).is_ok();
        canonical && key.is_ok_and(verifies)
    }
}

/// A scalar that is often next to an end or a power of two.
fn scalar(source: &mut Source<'_>) -> Scalar {
    let small = Scalar::from(source.below(5) as u64);
    match source.byte() % 5 {
        0 => small,
        1 => -small,
        2 => {
            let mut power = [0; 32];
            let bit = source.below(252);
            power[bit / 8] = 1 << (bit % 8);
            Scalar::from_bytes_mod_order(power) - small
        }
        _ => Scalar::from_bytes_mod_order(source.array()),
    }
}

/// The bytes of a number next to 0, L or 2^256, or of any.
fn scalar_bytes(source: &mut Source<'_>) -> [u8; 32] {
    let mut bytes = source.choose(&[[0; 32], L, [0xff; 32], TOP]);
    match source.byte() % 3 {
        0 => bytes[0] = bytes[0].wrapping_add(source.byte() % 5).wrapping_sub(2),
        1 => bytes = source.array(),
        _ => {}
    }
    bytes
}

/// The encoding of a point of small order, or one that is not canonical or no point at all.
fn odd_point(source: &mut Source<'_>) -> [u8; 32] {
    let mut bytes = EIGHT_TORSION[source.below(8)].compress().to_bytes();
    match source.byte() % 4 {
        0 => bytes[31] ^= 0x80,
        // p - 1 up to p + 18, the last y of 255 bits.
        1 => {
            bytes = [0xff; 32];
            bytes[0] = 0xec + source.byte() % 20;
            bytes[31] = source.choose(&[0x7f, 0xff]);
        }
        2 => bytes = (B * scalar(source)).compress().to_bytes(),
        _ => {}
    }
    bytes
}

/// A signature with a nonce of its own: valid, but for a torsion component that R must have and may not get.
fn sign(source: &mut Source<'_>, key: &Key, message: &[u8]) -> [u8; 64] {
    let nonce = scalar(source);
    let torsion = EIGHT_TORSION[if source.once_in(4) { source.below(8) } else { 0 }];
    let r = (B * nonce + torsion).compress().to_bytes();
    let hash = Sha512::new().chain_update(r).chain_update(key.encoded).chain_update(message).finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
    let s = (nonce + challenge * key.secret).to_bytes();
    [r, s].as_flattened().try_into().expect("64 bytes")
}

/// All paths give the verdicts of ed25519-dalek.
pub fn check(source: &mut Source<'_>) {
    let mut cases = Vec::new();
    for _ in 0..=source.below(40) {
        cases.push(Case::new(source, &cases));
    }
    let expected: Vec<_> = cases.iter().map(Case::expected).collect();
    assert_eq!(lanes_one_off(&cases), expected, "lanes, without tables");
    assert_eq!(plain_one_off(&cases), expected, "portable, without tables");
    let rows = cases.iter().zip(&expected);
    let expected: Vec<_> = rows.filter(|(case, _)| case.has_tables()).map(|(_, &verdict)| verdict).collect();
    cases.retain(Case::has_tables);
    assert_eq!(lanes_by_table(&cases), expected, "lanes, by table");
    assert_eq!(plain_by_table(&cases), expected, "portable, by table");
}

/// The two copies of the kernels have types of their own.
macro_rules! paths {
    ($kernels:ident, $part:tt, $one_off:ident, $by_table:ident) => {
        fn $one_off(cases: &[Case]) -> Vec<bool> {
            let row = |case| {
                let Case { encoded, signature, message, cuts, .. }: &Case = case;
                $kernels::OneOffRow { public_key: encoded, signature, message: pieces(message, *cuts) }
            };
            let rows: Vec<_> = cases.iter().map(row).collect();
            let mut verdicts = vec![false; rows.len()];
            $kernels::verify_one_off(&rows, &mut verdicts);
            verdicts
        }

        fn $by_table(cases: &[Case]) -> Vec<bool> {
            let row = |case| {
                let Case { key, window, signature, message, cuts, .. }: &Case = case;
                let table = &KEYS[key.expect("a key with tables")].tables[*window].$part;
                $kernels::Row { table, signature, message: pieces(message, *cuts) }
            };
            let rows: Vec<_> = cases.iter().map(row).collect();
            let mut verdicts = vec![false; rows.len()];
            $kernels::verify(&rows, &mut verdicts);
            verdicts
        }
    };
}

paths!(lanes, 0, lanes_one_off, lanes_by_table);
paths!(plain, 1, plain_one_off, plain_by_table);
