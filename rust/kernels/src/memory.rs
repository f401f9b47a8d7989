//! Memory of zeros, or none: what cannot be had is said, and nothing is touched before it is used.

use std::alloc::{Layout, alloc_zeroed};

/// A number, or several, for which zeros are a value.
///
/// # Safety
/// Every byte of it may be zero, and it has a size.
pub unsafe trait Plain: Copy + Default + Send + 'static {}

macro_rules! plain {
    ($($type:ty)*) => { $(
        // SAFETY: a number.
        unsafe impl Plain for $type {}
    )* };
}
plain! { u8 i8 i16 i32 u32 i64 u64 [u8; 8] [u8; 16] }

/// So many zeros; `None` where there is no memory for them.
#[must_use]
pub fn zeroed<T: Plain>(count: usize) -> Option<Vec<T>> {
    const { assert!(size_of::<T>() > 0) };
    if count == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<T>(count).ok()?;
    // SAFETY: the layout has a size: a type that has one, `count` times.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<T>();
    // SAFETY: allocated just now with the layout of a box of so many; zeros are values of the type.
    (!memory.is_null()).then(|| unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, count)) }.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_or_nothing() {
        assert_eq!(zeroed::<[u8; 8]>(3), Some(vec![[0; 8]; 3]));
        assert_eq!(zeroed::<i64>(0), Some(Vec::new()));
        assert_eq!(zeroed::<i64>(usize::MAX / 16), None);
        assert_eq!(zeroed::<u8>(usize::MAX), None);
    }
}
