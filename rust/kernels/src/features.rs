//! Which kernels run: asked of the processor once, and of `ITRON_CORE_KERNELS`.

use std::sync::OnceLock;

/// What this processor offers, or nothing at all when the portable kernels are forced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// AVX-512 F, DQ, BW, VL and IFMA: eight lanes of 52-bit limbs.
    pub avx512ifma: bool,
    /// SHA-NI with SSE4.1 and SSSE3.
    pub sha_ni: bool,
    /// AES-NI with AVX.
    pub aes_ni: bool,
    /// PCLMULQDQ with AVX.
    pub pclmulqdq: bool,
}

static CHOSEN: OnceLock<Features> = OnceLock::new();

/// What the processor offers, whatever was forced.
#[must_use]
pub fn detected() -> Features {
    #[cfg(target_arch = "x86_64")]
    {
        Features {
            avx512ifma: is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512ifma"),
            sha_ni: is_x86_feature_detected!("sha")
                && is_x86_feature_detected!("sse4.1")
                && is_x86_feature_detected!("ssse3"),
            aes_ni: is_x86_feature_detected!("aes") && is_x86_feature_detected!("avx"),
            pclmulqdq: is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("avx"),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    Features::default()
}

/// The features in use: those detected, unless `ITRON_CORE_KERNELS=portable` was set when they were first asked for.
#[must_use]
pub fn chosen() -> Features {
    *CHOSEN.get_or_init(|| match std::env::var_os("ITRON_CORE_KERNELS") {
        Some(value) if value == "portable" => Features::default(),
        _ => detected(),
    })
}
