//! Derives and compares with a master key whose bytes memcheck is told to take for undefined.
//!
//! Memcheck then complains of every branch and every address that depends on them: there must be none. `leak` branches on
//! purpose, to show that it would be seen.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use itron_core::crypto::kdf::{Derivation, Kdf, Label, MasterKey, check_values, derive_many};
use itron_core_kernels::aes::{Cbc, Cmac, Ctr, Gcm, Key, cbc_decrypt, cmac, cmac_of_two, ctr_apply, gcm_open};
use itron_core_kernels::verdict::DECLASSIFY;
use std::hint::black_box;

const RUNNING_ON_VALGRIND: usize = 0x1001;
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;
const MAKE_MEM_DEFINED: usize = 0x4d43_0002;
const IDS: [[u8; 8]; 37] = [[7; 8]; 37];

fn main() {
    assert_eq!(request(RUNNING_ON_VALGRIND, &[]), 1, "run it under valgrind");
    match std::env::args().nth(1).as_deref() {
        Some("derive") => derive(),
        Some("compare") => compare(),
        Some("read") => read(),
        Some("leak") => leak(),
        other => panic!("{other:?}; expected derive, compare, read or leak"),
    }
}

/// Every function, label and length; the keys are those of a master key that memcheck knows.
fn derive() {
    for kdf in Kdf::ALL {
        let bytes = vec![0x5a; if kdf == Kdf::CmacAes128 { 16 } else { 32 }];
        for label in Label::ALL {
            for length in [16, 32] {
                let what = Derivation { kdf, label, utility: b"UTIL0001", key_version: 3, extra: Some(b"x"), length };
                assert_eq!(derived(&secret(&bytes), &what), derived(&bytes, &what));
            }
        }
    }
    println!("derived");
}

fn derived(master: &[u8], what: &Derivation<'_>) -> (Vec<u8>, Vec<u8>) {
    let master = MasterKey::from_bytes(master);
    let mut keys = vec![0; IDS.len() * what.length];
    derive_many(&master, what, &IDS, &mut keys).expect("lengths are right");
    let mut values = vec![0; IDS.len() * 4];
    check_values(&master, what, &IDS, &mut values).expect("lengths are right");
    (public(keys), public(values))
}

fn compare() {
    let (mut one, two) = (vec![1; 32], vec![1; 32]);
    for byte in 0..32 {
        one[byte] = 2;
        let equal = MasterKey::from_bytes(&secret(&one)) == MasterKey::from_bytes(&secret(&two));
        assert_eq!(public(vec![u8::from(equal)]), [0]);
        one[byte] = 1;
    }
    let equal = MasterKey::from_bytes(&secret(&one)) == MasterKey::from_bytes(&secret(&two));
    assert_eq!(public(vec![u8::from(equal)]), [1]);
    println!("compared");
}

/// What opens readings: rows of other lengths, keys of both. Only the verdict on a tag is public.
fn read() {
    assert_eq!(opened(&secret(&[0x5a; 32])), opened(&[0x5a; 32]));
    let told = |verdict: &mut [u8]| {
        request(MAKE_MEM_DEFINED, verdict);
    };
    DECLASSIFY.set(told).expect("set once");
    let sealed: Vec<_> = (0..37).map(seal).collect();
    let (genuine, messages) = opened_by_tag(&[0x5a; 32], &sealed);
    assert!(genuine.iter().enumerate().all(|(row, genuine)| *genuine == (row % 3 != 0)));
    assert_eq!(opened_by_tag(&secret(&[0x5a; 32]), &sealed), (genuine, messages));
    println!("read");
}

/// What is authenticated only, a message, and its tag.
type Sealed = (Vec<u8>, Vec<u8>, Vec<u8>);

/// A row by another library, under a key that memcheck knows: keys of both lengths in turn, cut tags, each third tag wrong.
fn seal(row: usize) -> Sealed {
    let (nonce, aad, mut data) = ([9; 12], vec![row as u8; 3 * (row % 11)], vec![row as u8; 5 * row]);
    let tag = if row % 2 == 0 {
        Aes128Gcm::new(&[0x5a; 16].into()).encrypt_inout_detached(&nonce.into(), &aad, (&mut data[..]).into())
    } else {
        Aes256Gcm::new(&[0x5a; 32].into()).encrypt_inout_detached(&nonce.into(), &aad, (&mut data[..]).into())
    };
    let mut tag = tag.expect("a short message")[..if row % 4 == 0 { 12 } else { 16 }].to_vec();
    tag[0] ^= u8::from(row % 3 == 0);
    (aad, data, tag)
}

fn opened_by_tag(key: &[u8], sealed: &[Sealed]) -> (Vec<bool>, Vec<u8>) {
    let keys = [Key::new(&key[..16]).expect("16 bytes"), Key::new(key).expect("32 bytes")];
    let mut messages: Vec<_> = sealed.iter().map(|(_, data, _)| data.clone()).collect();
    let rows = sealed.iter().zip(&mut messages).enumerate();
    let rows = rows.map(|(row, ((aad, _, tag), data))| Gcm { key: keys[row % 2], nonce: [9; 12], aad, data, tag });
    let genuine = gcm_open(&mut rows.collect::<Vec<_>>());
    (genuine, public(messages.concat()))
}

fn opened(key: &[u8]) -> Vec<u8> {
    let short: &[u8; 16] = key.first_chunk().expect("16 of 32 bytes");
    let mut messages: Vec<_> = (0..37).map(|row| vec![row as u8; 16 * (row % 7)]).collect();
    let rows = messages.iter_mut();
    cbc_decrypt(&mut rows.map(|data| Cbc { key: short, iv: [3; 16], data }).collect::<Vec<_>>());
    let mut streamed: Vec<_> = (0..37).map(|row| vec![row as u8; 5 * row]).collect();
    let keys = [Key::Aes128(short), Key::new(key).expect("32 bytes")];
    let rows = streamed.iter_mut().enumerate();
    ctr_apply(&mut rows.map(|(row, data)| Ctr { key: keys[row % 2], counter: [5; 16], data }).collect::<Vec<_>>());
    let (mut macs, mut pairs) = (vec![[0; 16]; 37], vec![[[1; 16], [2; 16]]; 37]);
    let texts: Vec<_> = (0..37).map(|row| vec![row as u8; 3 * row]).collect();
    cmac(&texts.iter().map(|message| Cmac { key: short, message }).collect::<Vec<_>>(), &mut macs);
    cmac_of_two(&[short; 37], &mut pairs);
    let all = [
        messages.concat(),
        streamed.concat(),
        macs.as_flattened().to_vec(),
        pairs.as_flattened().as_flattened().to_vec(),
    ];
    public(all.concat())
}

fn leak() {
    let table = black_box([3u8; 256]);
    let found = table[usize::from(black_box(secret(&[1]))[0])];
    println!("{}", if black_box(found) == 3 { "leaked" } else { "leaks" });
}

/// A copy that memcheck takes for undefined.
fn secret(bytes: &[u8]) -> Vec<u8> {
    let copy = black_box(bytes.to_vec());
    request(MAKE_MEM_UNDEFINED, &copy);
    copy
}

/// The bytes, which memcheck may look at again.
fn public(bytes: Vec<u8>) -> Vec<u8> {
    request(MAKE_MEM_DEFINED, &bytes);
    black_box(bytes)
}

/// A client request of valgrind's, about `bytes`: 0 where it does not run.
#[cfg(target_arch = "x86_64")]
fn request(code: usize, bytes: &[u8]) -> usize {
    let arguments = [code, bytes.as_ptr().addr(), bytes.len(), 0, 0, 0];
    let result;
    // SAFETY: rotations by 128 bits in all leave rdi as it was, and the exchange is of a register with itself; what valgrind
    // does at this mark touches only what it believes of `bytes`. The arguments are alive, and it reads them alone.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") 0usize => result,
        );
    }
    result
}
