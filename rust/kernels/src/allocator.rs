//! Memory for large columns: whole huge pages from the system, which go back to it at once.
//!
//! The allocator of the system keeps large blocks that were freed, and fills them with zeros when it hands them out again: each
//! page is then written before it is used, 4 KiB at a time. Pages that are new are zeros already, and one fault brings 2 MiB.

use std::alloc::{GlobalAlloc, Layout, System};

/// The allocator of the system, but for large blocks.
#[derive(Clone, Copy, Debug)]
pub struct LargePages;

#[cfg(target_os = "linux")]
mod pages {
    use crate::huge_pages::{HUGE_PAGE, advise};
    use std::alloc::Layout;
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::ptr::{null_mut, slice_from_raw_parts_mut};

    /// Bytes from which a block has pages of its own: smaller ones would mostly waste them.
    const LARGE: usize = 1 << 20;

    const PROT_READ_WRITE: c_int = 1 | 2;
    #[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
    const MAP_PRIVATE_ANONYMOUS: c_int = 0x02 | 0x20;
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    const MAP_PRIVATE_ANONYMOUS: c_int = 0x02 | 0x800;

    unsafe extern "C" {
        fn mmap(
            start: *mut c_void,
            length: usize,
            protection: c_int,
            flags: c_int,
            file: c_int,
            offset: isize,
        ) -> *mut c_void;
        fn munmap(start: *mut c_void, length: usize) -> c_int;
    }

    pub(super) fn is_large(layout: Layout) -> bool {
        layout.size() >= LARGE && layout.align() <= HUGE_PAGE
    }

    /// Bytes of the pages of a block.
    pub(super) fn mapped(size: usize) -> Option<usize> {
        size.checked_next_multiple_of(HUGE_PAGE)
    }

    /// Zeros, at the beginning of a huge page; null where there are none.
    pub(super) fn map(size: usize) -> *mut u8 {
        let Some((length, all)) = mapped(size).and_then(|length| Some((length, length.checked_add(HUGE_PAGE)?))) else {
            return null_mut();
        };
        // SAFETY: new pages, wherever the system has room.
        let start = unsafe { mmap(null_mut(), all, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
        if start.addr().cast_signed() == -1 {
            return null_mut();
        }
        let before = start.addr().next_multiple_of(HUGE_PAGE) - start.addr();
        let block = start.wrapping_byte_add(before);
        // SAFETY: what lies before and after the block is of the same new pages, and nobody has seen it.
        unsafe {
            if before > 0 {
                munmap(start, before);
            }
            munmap(block.wrapping_byte_add(length), HUGE_PAGE - before);
            advise(&mut *slice_from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), length));
        }
        block.cast()
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// [`map`] has returned it for this size, and nobody looks at it again.
    pub(super) unsafe fn unmap(block: *mut u8, size: usize) {
        if let Some(length) = mapped(size) {
            // SAFETY: the caller's promise.
            unsafe { munmap(block.cast(), length) };
        }
    }
}

/// Elsewhere all memory is the allocator's of the system.
#[cfg(not(target_os = "linux"))]
mod pages {
    use std::alloc::Layout;

    pub(super) fn is_large(_layout: Layout) -> bool {
        false
    }

    pub(super) fn mapped(size: usize) -> Option<usize> {
        Some(size)
    }

    pub(super) fn map(_size: usize) -> *mut u8 {
        std::ptr::null_mut()
    }

    pub(super) unsafe fn unmap(_block: *mut u8, _size: usize) {}
}

// SAFETY: a block is what the system's allocator returns, or new pages of at least its size, whose beginning has any alignment
// that is asked; `is_large` says of each layout the same at its beginning and at its end.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if pages::is_large(layout) { pages::map(layout.size()) } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if pages::is_large(layout) { pages::map(layout.size()) } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe {
            if pages::is_large(layout) { pages::unmap(block, layout.size()) } else { System.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the size is not 0, and does not overflow when rounded up to the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (pages::is_large(layout), pages::is_large(new)) {
            // SAFETY: the caller's promise.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            (true, true) if pages::mapped(layout.size()) == pages::mapped(size) => block,
            // SAFETY: the new block is another one, and as long as what is copied.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around that of a large block, and around that of a huge page.
    const SIZES: [usize; 8] = [1, 4_096, (1 << 20) - 1, 1 << 20, 2 << 20, (2 << 20) + 1, 5 << 20, 9 << 20];

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).expect("a layout")
    }

    #[test]
    fn blocks_of_each_size_are_zeros_and_keep_what_is_written_when_they_grow_or_shrink() {
        for from in SIZES {
            for to in SIZES {
                // SAFETY: each block is used within its size, and freed once with its layout.
                unsafe {
                    let block = LargePages.alloc_zeroed(layout(from));
                    assert!(!block.is_null() && block.addr().is_multiple_of(64));
                    let bytes = std::slice::from_raw_parts_mut(block, from);
                    assert!(bytes.iter().all(|&byte| byte == 0));
                    bytes.iter_mut().zip(1_u64..).for_each(|(byte, at)| *byte = ((at * 0x9e37_79b9) >> 13) as u8);
                    let before = bytes[..from.min(to)].to_vec();
                    let block = LargePages.realloc(block, layout(from), to);
                    assert_eq!(std::slice::from_raw_parts(block, from.min(to)), before);
                    LargePages.dealloc(block, layout(to));
                }
            }
        }
    }

    #[test]
    fn memory_that_cannot_be_had_is_null() {
        let most = layout(isize::MAX as usize / 64 * 64);
        // SAFETY: the layout has a size, and null is nothing to free.
        assert!(unsafe { LargePages.alloc(most).is_null() && LargePages.alloc_zeroed(most).is_null() });
    }
}
