//! ECDSA signatures of every kind, and the verdicts of every path.

use crate::portable::portable;
use crate::source::{Source, pieces};
use itron_core_kernels::p256 as lanes;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::group::Group;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use p256::{AffinePoint, ProjectivePoint, Scalar, Sec1Point};
use portable::p256 as plain;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// n, big-endian.
const N: [u8; 32] = *b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
    \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
/// Windows of the tables kept, two of them of each key.
const WINDOWS: [u32; 4] = [4, 6, 8, 9];
/// Keys made for a signature have tables, which take a while: at most so many an input.
const CRAFTED: usize = 3;

/// Tables of one key.
type Tables = (lanes::Table, plain::Table);

fn tables(key: &[u8; 64], window: u32) -> Option<Tables> {
    Some((lanes::Table::new(key, window)?, plain::Table::new(key, window)?))
}

/// A key that has tables.
struct Key {
    secret: Scalar,
    encoded: [u8; 64],
    tables: Vec<Tables>,
}

/// Ordinary keys, and keys next to G.
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let ordinary = (0..4_u8).map(|seed| reduce(&Sha256::digest([seed])));
    let next_to_g = [Scalar::ONE, -Scalar::ONE, Scalar::from(2_u64), -Scalar::from(16_u64)];
    let windows = |index: usize| [WINDOWS[index % 4], WINDOWS[(index + 1) % 4]];
    let key = |(index, secret): (usize, Scalar)| {
        let encoded = coordinates(&ProjectivePoint::mul_by_generator(&secret)).expect("not infinity");
        let tables = windows(index).iter().map(|&window| tables(&encoded, window).expect("a point")).collect();
        Key { secret, encoded, tables }
    };
    ordinary.chain(next_to_g).enumerate().map(key).collect()
});

fn reduce(bytes: &[u8]) -> Scalar {
    let bytes: [u8; 32] = bytes.try_into().expect("32 bytes");
    <Scalar as Reduce<p256::FieldBytes>>::reduce(&bytes.into())
}

fn coordinates(point: &ProjectivePoint) -> Option<[u8; 64]> {
    point.to_affine().to_sec1_point(false).as_bytes().get(1..)?.try_into().ok()
}

/// x mod n, 0 for infinity.
fn x_of(point: &ProjectivePoint) -> Scalar {
    coordinates(point).map_or(Scalar::ZERO, |encoded| reduce(&encoded[..32]))
}

/// By which tables a signature is verified.
enum Known {
    Kept(usize, usize),
    Crafted(Box<Tables>),
    No,
}

/// A signature with its key.
struct Case {
    known: Known,
    encoded: [u8; 64],
    signature: [u8; 64],
    message: Vec<u8>,
    cuts: [usize; 3],
}

impl Case {
    fn new(source: &mut Source<'_>, earlier: &[Self]) -> Self {
        let length = source.below(300);
        let (message, cuts) = (source.noise(length), source.cuts(length));
        let digest = reduce(&Sha256::digest(&message));
        let crafted = earlier.iter().filter(|case| matches!(case.known, Known::Crafted(_))).count();
        let made = if crafted < CRAFTED { craft(source, digest) } else { None };
        let (known, encoded, signature) = if let Some((encoded, signature)) = made {
            let tables = tables(&encoded, 4).expect("a point");
            (Known::Crafted(Box::new(tables)), encoded, signature)
        } else {
            let index = source.below(KEYS.len());
            let Key { secret, encoded, .. } = &KEYS[index];
            (Known::Kept(index, source.below(2)), *encoded, sign(source, secret, digest))
        };
        let mut case = Self { known, encoded, signature, message, cuts };
        case.spoil(source, earlier);
        case
    }

    fn spoil(&mut self, source: &mut Source<'_>, earlier: &[Self]) {
        let bit = 1 << source.below(8);
        let half = 32 * source.below(2);
        match source.byte() % 16 {
            0 => self.signature[source.below(64)] ^= bit,
            1 => self.signature = source.array(),
            2 => self.signature[half..half + 32].copy_from_slice(&scalar_bytes(source)),
            3 => {
                let s: [u8; 32] = *self.signature.last_chunk().expect("64 bytes");
                let s = Option::<Scalar>::from(Scalar::from_repr(s.into()));
                self.signature[32..].copy_from_slice(&(-s.unwrap_or(Scalar::ZERO)).to_repr());
            }
            4 => self.message.iter_mut().take(1).for_each(|byte| *byte ^= bit),
            5 => (self.known, self.encoded) = (Known::No, source.array()),
            6 => {
                self.known = Known::No;
                self.encoded[source.below(64)] ^= bit;
            }
            7 => {
                if let Some(other) = earlier.get(source.below(earlier.len() + 1)) {
                    self.signature = other.signature;
                }
            }
            8 => self.known = Known::No,
            _ => {}
        }
    }

    fn has_tables(&self) -> bool {
        !matches!(self.known, Known::No)
    }

    /// What the p256 crate says.
    fn expected(&self) -> bool {
        let key = VerifyingKey::from_sec1_bytes(&[&[4], &self.encoded[..]].concat());
        let signature = Signature::from_slice(&self.signature);
        key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(&self.message, &signature).is_ok()))
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
            let bit = source.below(256);
            power[31 - bit / 8] = 1 << (bit % 8);
            reduce(&power) - small
        }
        _ => reduce(&source.array::<32>()),
    }
}

/// The bytes of a number next to 0, n or 2^256, or of any.
fn scalar_bytes(source: &mut Source<'_>) -> [u8; 32] {
    let mut bytes = source.choose(&[[0; 32], N, [0xff; 32]]);
    match source.byte() % 3 {
        0 => bytes[31] = bytes[31].wrapping_add(source.byte() % 5).wrapping_sub(2),
        1 => bytes = source.array(),
        _ => {}
    }
    bytes
}

fn signature(r: &Scalar, s: &Scalar) -> [u8; 64] {
    [<[u8; 32]>::from(r.to_repr()), s.to_repr().into()].as_flattened().try_into().expect("64 bytes")
}

/// A signature with a nonce of its own.
fn sign(source: &mut Source<'_>, secret: &Scalar, digest: Scalar) -> [u8; 64] {
    let nonce = Some(scalar(source)).filter(|nonce| !bool::from(nonce.is_zero())).unwrap_or(Scalar::ONE);
    let r = x_of(&ProjectivePoint::mul_by_generator(&nonce));
    signature(&r, &((digest + r * secret) * nonce.invert().expect("not 0")))
}

/// The point whose x the sum shall have: a multiple of G that meets `u1 G` within the sum, or one whose x is small or
/// above n; and its r.
fn sum_point(source: &mut Source<'_>, u1: &Scalar) -> Option<(ProjectivePoint, Scalar)> {
    let multiple = match source.byte() % 4 {
        0 => u1.double(),
        1 => scalar(source),
        // Infinity, which no r stands for.
        2 => return Some((ProjectivePoint::IDENTITY, scalar(source))),
        _ => {
            let mut x = if source.flag() { N } else { [0; 32] };
            x[31] = x[31].wrapping_add(source.byte() % 80);
            let encoded = Sec1Point::from_bytes([&[2], &x[..]].concat()).expect("compressed");
            let point = ProjectivePoint::from(Option::<AffinePoint>::from(AffinePoint::from_sec1_point(&encoded))?);
            return Some((point, x_of(&point)));
        }
    };
    let point = ProjectivePoint::mul_by_generator(&multiple);
    Some((point, x_of(&point)))
}

/// A key and a signature over `digest` for which u1 and the sum `u1 G + u2 Q` are chosen.
fn craft(source: &mut Source<'_>, digest: Scalar) -> Option<([u8; 64], [u8; 64])> {
    if !source.once_in(4) {
        return None;
    }
    let u1 = scalar(source);
    let (sum, r) = sum_point(source, &u1)?;
    let s = digest * Option::<Scalar>::from(u1.invert())?;
    let u2 = r * Option::<Scalar>::from(s.invert())?;
    let key = (sum - ProjectivePoint::mul_by_generator(&u1)) * Option::<Scalar>::from(u2.invert())?;
    Some((coordinates(&key)?, signature(&r, &s)))
}

/// All paths give the verdicts of the p256 crate.
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

fn tables_of(case: &Case) -> &Tables {
    match &case.known {
        Known::Kept(key, window) => &KEYS[*key].tables[*window],
        Known::Crafted(tables) => tables,
        Known::No => unreachable!("only cases with tables are asked"),
    }
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
                let Case { signature, message, cuts, .. }: &Case = case;
                $kernels::Row { table: &tables_of(case).$part, signature, message: pieces(message, *cuts) }
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
