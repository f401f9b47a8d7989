//! The stack after work on secrets: a value that is moved, or that did not fit into the registers, leaves copies that no
//! `Drop` reaches.

use std::mem::MaybeUninit;
use zeroize::Zeroize;

/// Bytes that are wiped: deeper than any derivation goes.
const DEPTH: usize = 4096;

/// Calls `work` and wipes the stack that it used, so what it returns should not be secret.
pub fn wiped<R>(work: impl FnOnce() -> R) -> R {
    let result = called(work);
    wipe();
    result
}

/// In a frame of its own, which begins where that of [`wipe`] begins.
#[inline(never)]
fn called<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn wipe() {
    let mut room = [const { MaybeUninit::<u64>::uninit() }; DEPTH / size_of::<u64>()];
    room.as_mut_slice().zeroize();
}
