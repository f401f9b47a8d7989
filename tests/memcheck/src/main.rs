//! Derives and compares with a master key whose bytes memcheck is told to take for undefined.
//!
//! Memcheck then complains of every branch and every address that depends on them: there must be none. `leak` branches on
//! purpose, to show that it would be seen.

use itron_core::crypto::kdf::{Derivation, Kdf, Label, MasterKey, check_values, derive_many};
use itron_core_kernels::aes::{Cbc, Cmac, Ctr, Key, cbc_decrypt, cmac, cmac_of_two, ctr_apply};
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

/// What opens readings, up to the verdict of a check, which is public and a branch: rows of other lengths, keys of both.
fn read() {
    assert_eq!(opened(&secret(&[0x5a; 32])), opened(&[0x5a; 32]));
    println!("read");
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
