//! Which kernels this processor runs, for those who ask.

use itron_core_kernels::features::{self, Features};

/// The names of what the processor offers, whether it is used or not.
#[must_use]
pub fn detected() -> Vec<&'static str> {
    let Features { avx512ifma, sha_ni, aes_ni, pclmulqdq } = features::detected();
    let all = [(avx512ifma, "avx512ifma"), (sha_ni, "sha_ni"), (aes_ni, "aes_ni"), (pclmulqdq, "pclmulqdq")];
    all.into_iter().filter(|&(has, _)| has).map(|(_, name)| name).collect()
}

/// Each operation with the kernel in use.
#[must_use]
pub fn in_use() -> [(&'static str, &'static str); 4] {
    let Features { avx512ifma, sha_ni, aes_ni, pclmulqdq } = features::chosen();
    let kernel = |has: bool, name| if has { name } else { "portable" };
    [
        ("ed25519", kernel(avx512ifma, "avx512ifma")),
        ("esp256", kernel(avx512ifma, "avx512ifma")),
        ("derivation", kernel(sha_ni, "sha_ni")),
        ("readings", kernel(aes_ni && pclmulqdq, "aes_ni")),
    ]
}
