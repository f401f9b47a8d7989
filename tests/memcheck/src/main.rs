//! Derives and compares with a master key whose bytes memcheck is told to take for undefined.
//!
//! Memcheck then complains of every branch and every address that depends on them: there must be none. `leak` branches on
//! purpose, to show that it would be seen.

use itron_core::crypto::kdf::{Derivation, Kdf, Label, MasterKey, check_values, derive_many};
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
        Some("leak") => leak(),
        other => panic!("{other:?}; wanted derive, compare or leak"),
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
