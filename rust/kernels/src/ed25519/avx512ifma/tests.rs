//! Sums of chosen scalars, in every way that lanes and the portable twin sum, against curve25519-dalek.

use super::super::point::Extended;
use super::super::portable;
use super::super::table::Table;
use super::super::tests::digits::{edges, random, to_dalek};
use super::super::tests::samples::Source;
use super::super::window::{WINDOWS, Words};
use super::one_off;
use super::plan::Plan;
use super::point::Points;
use super::rows::Scalars;
use super::spread;
use crate::features;
use crate::field25519::portable::{Tight, ZERO};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::{EdwardsPoint, Scalar};

/// The encodings of the points in each lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn encode(points: &Points) -> [[u8; 32]; 8] {
    let (plus, minus) = (points.plus.widen(), points.minus.widen());
    let coordinates = [plus.sub(&minus).carry(), plus.add(&minus).carry(), points.z.double()];
    let coordinates = coordinates.map(|element| element.canonical().to_lanes());
    std::array::from_fn(|lane| {
        let [x, y, z] = coordinates.map(|limbs| Tight::from_limbs(limbs.map(|limb| limb[lane])));
        Extended { x, y, z, t: ZERO }.encode(&z.invert())
    })
}

fn in_lanes(scalars: &[Words; 8]) -> Scalars {
    std::array::from_fn(|i| scalars.map(|words| words[i]))
}

/// Keys of all kinds: B, -B, others, points of small order, and points with a part of small order.
fn keys() -> Vec<EdwardsPoint> {
    let mut source = Source::new(30);
    let mut keys = vec![ED25519_BASEPOINT_POINT, -ED25519_BASEPOINT_POINT];
    for torsion in EIGHT_TORSION {
        let scalar = to_dalek(&random(&mut source));
        keys.extend([torsion, EdwardsPoint::mul_base(&scalar), EdwardsPoint::mul_base(&scalar) + torsion]);
    }
    keys
}

/// Pairs of scalars: edges with edges, s = h, and s = -h, so that sums pass through the neutral point.
fn pairs() -> Vec<(Words, Words)> {
    let mut source = Source::new(31);
    let mut all = edges();
    all.extend((0..100).map(|_| random(&mut source)));
    let negated = |words: &Words| {
        let bytes = (-to_dalek(words)).to_bytes();
        std::array::from_fn(|i| u64::from_le_bytes(bytes.as_chunks::<8>().0[i]))
    };
    let mut pairs = Vec::new();
    for (i, words) in all.iter().enumerate() {
        pairs.extend([(*words, *words), (*words, negated(words)), (*words, all[source.below(all.len())])]);
        pairs.extend([([0; 4], *words), (*words, all[(i + 1) % all.len()])]);
    }
    pairs
}

fn expected(key: &EdwardsPoint, s: &Words, h: &Words) -> [u8; 32] {
    // As many operations as there are edges to this are left to dalek's.
    let (s, h): (Scalar, Scalar) = (to_dalek(s), to_dalek(h));
    EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-key, &s).compress().to_bytes()
}

#[test]
fn sums_of_edge_scalars_agree_with_dalek() {
    if !features::detected().avx512ifma {
        return;
    }
    let (keys, pairs) = (keys(), pairs());
    for window in WINDOWS {
        let tables: Vec<Table> = keys
            .iter()
            .map(|key| Table::new(key.compress().as_bytes(), window).expect("the encoding of a point"))
            .collect();
        // Other pairs for each window; each lane has a key of its own.
        for (group, pairs) in pairs.chunks_exact(8).enumerate().skip(window as usize % 4).step_by(4) {
            let of_lane = |lane: usize| (5 * group + lane) % keys.len();
            let (s, h) = (std::array::from_fn(|i| pairs[i].0), std::array::from_fn(|i| pairs[i].1));
            let expected: [_; 8] = std::array::from_fn(|i| expected(&keys[of_lane(i)], &s[i], &h[i]));
            let tables: [&Table; 8] = std::array::from_fn(|i| &tables[of_lane(i)]);
            let points: [_; 8] = std::array::from_fn(|i| portable::combine(tables[i], &s[i], &h[i]));
            assert_eq!(points.map(|point| point.encode(&point.z.invert())), expected, "portable, window {window}");
            let mut plan = Plan::new();
            // SAFETY: the features were detected, and the tables are alive.
            unsafe {
                plan.fill(&tables, &in_lanes(&s), &in_lanes(&h));
                assert_eq!(encode(&plan.sum()), expected, "lanes, window {window}");
                let lane = group % 8;
                let spread = encode(&spread::combine(tables[lane], &s[lane], &h[lane]));
                assert_eq!(spread, [expected[lane]; 8], "spread, window {window}");
            }
        }
    }
}

#[test]
fn one_off_sums_of_edge_scalars_agree_with_dalek() {
    if !features::detected().avx512ifma {
        return;
    }
    let (keys, pairs) = (keys(), pairs());
    for (group, pairs) in pairs.chunks_exact(8).enumerate() {
        let key = |lane: usize| &keys[(3 * group + lane) % keys.len()];
        let (s, h) = (std::array::from_fn(|i| pairs[i].0), std::array::from_fn(|i| pairs[i].1));
        let expected: [_; 8] = std::array::from_fn(|i| expected(key(i), &s[i], &h[i]));
        let encoded: [_; 8] = std::array::from_fn(|i| key(i).compress().to_bytes());
        // SAFETY: the features were detected.
        let (sums, decoded) = unsafe {
            let (sums, decoded) = one_off::combine(&encoded.each_ref(), &in_lanes(&s), &in_lanes(&h), &mut Plan::new());
            (encode(&sums), decoded)
        };
        assert_eq!((sums, decoded), (expected, 0xff));
    }
}

#[test]
fn lanes_decode_what_the_portable_twin_decodes() {
    if !features::detected().avx512ifma {
        return;
    }
    let mut source = Source::new(32);
    // Every y from p - 20 on, with and without the sign, small ones, and any.
    let mut encodings: Vec<[u8; 32]> = Vec::new();
    for low in 0..=255u8 {
        let mut high = [0xff; 32];
        high[0] = low;
        let mut small = [0; 32];
        small[0] = low;
        for mut encoding in [high, small, source.seed_bytes()] {
            encodings.push(encoding);
            encoding[31] ^= 0x80;
            encodings.push(encoding);
        }
    }
    encodings.extend(keys().iter().map(|key| key.compress().to_bytes()));
    let mut decoded_count = 0;
    for eight in encodings.as_chunks::<8>().0 {
        // SAFETY: the features were detected.
        let (points, decoded) = unsafe {
            let (points, decoded) = one_off::decode(&eight.each_ref());
            (encode(&points), decoded)
        };
        for (lane, encoding) in eight.iter().enumerate() {
            let portable = Extended::decode(encoding);
            assert_eq!(decoded >> lane & 1 == 1, portable.is_some(), "{encoding:x?}");
            if let Some(portable) = portable {
                assert_eq!(points[lane], *encoding);
                assert_eq!(portable.encode(&portable.z.invert()), *encoding);
                decoded_count += 1;
            }
        }
    }
    assert!(decoded_count > 500, "{decoded_count}");
}
