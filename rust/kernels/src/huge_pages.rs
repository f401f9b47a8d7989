//! Huge pages of memory: asked for where tables and columns are large, and brought in before they are written.
//!
//! Tables are read at random places: in pages of 4 KiB nearly every look-up would also miss the address translation cache.

#[cfg(target_os = "linux")]
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// Bytes of a huge page on x86-64 and most of ARM64.
pub const HUGE_PAGE: usize = 2 << 20;

#[cfg(target_os = "linux")]
const MADV_HUGEPAGE: c_int = 14;
#[cfg(target_os = "linux")]
const MADV_POPULATE_WRITE: c_int = 23;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
}

/// Asks the kernel for huge pages where `memory` covers whole ones. It may refuse; nothing but time depends on it.
#[cfg(target_os = "linux")]
pub(crate) fn advise<T>(memory: &mut [MaybeUninit<T>]) {
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

/// Brings in the huge page of an address, as the first write to it would. Nothing but time depends on it (Linux 5.14).
#[cfg(target_os = "linux")]
pub fn bring(address: usize) {
    let page = std::ptr::without_provenance_mut(address / HUGE_PAGE * HUGE_PAGE);
    // SAFETY: this advice never changes a byte, whatever lies at the address; it returns an error if nothing does.
    let _ = unsafe { madvise(page, HUGE_PAGE, MADV_POPULATE_WRITE) };
}

/// Elsewhere the first write brings it in.
#[cfg(not(target_os = "linux"))]
pub fn bring(_address: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_brought_in_keeps_its_bytes_and_none_is_no_fault() {
        let memory = vec![7_u8; 3 * HUGE_PAGE];
        bring(memory[HUGE_PAGE..].as_ptr().addr());
        assert!(memory.iter().all(|&byte| byte == 7));
        bring(0);
    }
}
