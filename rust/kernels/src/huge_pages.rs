//! Tables are read at random places: in pages of 4 KiB nearly every look-up would also miss the address translation cache.

use std::mem::MaybeUninit;

/// What a huge page is on x86-64 and most of ARM64.
#[cfg(target_os = "linux")]
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Asks the kernel for huge pages where `memory` covers whole ones. It may refuse; nothing but time depends on it.
#[cfg(target_os = "linux")]
pub(crate) fn advise<T>(memory: &mut [MaybeUninit<T>]) {
    use std::ffi::{c_int, c_void};
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    let range = memory.as_mut_ptr_range();
    let first = range.start.map_addr(|address| address.next_multiple_of(HUGE_PAGE));
    let end = range.end.addr() / HUGE_PAGE * HUGE_PAGE;
    if let Some(length @ 1..) = end.checked_sub(first.addr()) {
        // SAFETY: the pages lie within `memory`, and this advice changes no byte of them.
        let _ = unsafe { madvise(first.cast(), length, MADV_HUGEPAGE) };
    }
}

/// Elsewhere pages are what they are.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise<T>(_memory: &mut [MaybeUninit<T>]) {}
