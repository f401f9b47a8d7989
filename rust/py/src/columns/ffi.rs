//! The three structures of the Arrow C data and C stream interfaces, and who releases them.
//!
//! Source: <https://arrow.apache.org/docs/format/CDataInterface.html> and CStreamInterface.html.

use std::ffi::{c_char, c_int, c_void};

/// The type of an array: format string, name, children.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowSchema {
    pub format: *const c_char,
    pub name: *const c_char,
    pub metadata: *const c_char,
    pub flags: i64,
    pub n_children: i64,
    pub children: *mut *mut ArrowSchema,
    pub dictionary: *mut ArrowSchema,
    pub release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    pub private_data: *mut c_void,
}

/// The buffers of an array; their sizes are not carried.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowArray {
    pub length: i64,
    pub null_count: i64,
    pub offset: i64,
    pub n_buffers: i64,
    pub n_children: i64,
    pub buffers: *mut *const c_void,
    pub children: *mut *mut ArrowArray,
    pub dictionary: *mut ArrowArray,
    pub release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    pub private_data: *mut c_void,
}

/// Arrays of one schema, one after another.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowArrayStream {
    pub get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    pub get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    pub get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    pub release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    pub private_data: *mut c_void,
}

/// A structure that carries its own release callback; one without has been released, or moved out.
pub trait Released {
    /// A structure that holds nothing.
    fn empty() -> Self;
    /// Whether it holds nothing any more.
    fn is_released(&self) -> bool;
    /// Marks it as moved out.
    fn forget(&mut self);
    /// Calls the release callback, if there is one.
    ///
    /// # Safety
    /// The structure must be its producer's own, moved by copying its bytes at most, and not moved out.
    unsafe fn release(&mut self);
}

macro_rules! released {
    ($name:ident { $($field:ident: $empty:expr),* $(,)? }) => {
        impl Released for $name {
            fn empty() -> Self {
                Self { $($field: $empty,)* release: None, private_data: std::ptr::null_mut() }
            }

            fn is_released(&self) -> bool {
                self.release.is_none()
            }

            fn forget(&mut self) {
                self.release = None;
            }

            unsafe fn release(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: the caller says that the structure is its producer's; the callback is called once, since it
                    // clears itself, and is cleared here if the producer forgot to.
                    unsafe { release(self) };
                    self.release = None;
                }
            }
        }
    };
}

released!(ArrowSchema {
    format: std::ptr::null(),
    name: std::ptr::null(),
    metadata: std::ptr::null(),
    flags: 0,
    n_children: 0,
    children: std::ptr::null_mut(),
    dictionary: std::ptr::null_mut(),
});
released!(ArrowArray {
    length: 0,
    null_count: 0,
    offset: 0,
    n_buffers: 0,
    n_children: 0,
    buffers: std::ptr::null_mut(),
    children: std::ptr::null_mut(),
    dictionary: std::ptr::null_mut(),
});
released!(ArrowArrayStream { get_schema: None, get_next: None, get_last_error: None });

/// A structure that is ours to release.
#[derive(Debug)]
pub struct Owned<T: Released>(pub T);

// SAFETY: the interface lets a consumer read and release from any thread; nothing is written through the pointers before release.
unsafe impl<T: Released> Send for Owned<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Released> Sync for Owned<T> {}

impl<T: Released> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: an `Owned` is made only of a structure moved out of its producer's place.
        unsafe { self.0.release() };
    }
}
