//! The two choices of kernels in one process.

use itron_core_kernels as kernels;
pub use itron_core_kernels_portable as portable;

const VARIABLE: &str = "ITRON_CORE_KERNELS";

/// Lets the second copy of the kernels choose the portable ones, and the first what the processor has. Called once,
/// before anything else.
pub fn choose() {
    // SAFETY: libFuzzer and the test of the seeds call this before there is a thread, so nothing reads the environment meanwhile.
    unsafe { std::env::set_var(VARIABLE, "portable") };
    assert_eq!(portable::features::chosen(), portable::features::Features::default());
    // SAFETY: as above.
    unsafe { std::env::remove_var(VARIABLE) };
    assert_eq!(kernels::features::chosen(), kernels::features::detected());
}
