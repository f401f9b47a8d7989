//! What eight rows say, brought into lanes.

use super::super::window::Words;
use super::super::{OneOffRow, scalar};
use crate::field25519::avx512ifma::{Lanes, store};
use crate::sha512;

/// A row, however its key is known.
pub(super) type Signed<'a> = OneOffRow<'a>;

/// Eight scalars below L, word i of lane j in `[i][j]`.
pub(super) type Scalars = [Lanes; 4];

impl<'a> Signed<'a> {
    /// The first half of the signature.
    #[inline]
    pub(super) fn r(&self) -> &'a [u8; 32] {
        self.signature.first_chunk().expect("64 bytes hold 32")
    }
}

/// 32 bytes of each lane, as words.
#[inline]
pub(super) fn words_in_lanes(bytes: &[&[u8; 32]; 8]) -> [Lanes; 4] {
    std::array::from_fn(|i| bytes.map(|bytes| u64::from_le_bytes(bytes.as_chunks::<8>().0[i])))
}

#[inline]
fn to_lanes(scalars: &[Words; 8]) -> Scalars {
    std::array::from_fn(|i| scalars.map(|words| words[i]))
}

/// S of each row, and a bit for each that is below L. Those that are not count as 0.
pub(super) fn scalars(rows: &[Signed<'_>; 8]) -> (Scalars, u8) {
    let mut valid = 0;
    let words = std::array::from_fn(|lane| match scalar::from_signature(rows[lane].signature) {
        Some(words) => {
            valid |= 1 << lane;
            words
        }
        None => Words::default(),
    });
    (to_lanes(&words), valid)
}

/// As [`super::super::portable::challenge`], for each row.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn challenges(rows: &[Signed<'_>; 8]) -> Scalars {
    let messages: [[&[u8]; 6]; 8] = std::array::from_fn(|i| {
        let [a, b, c, d] = rows[i].message;
        [rows[i].r().as_slice(), rows[i].public_key, a, b, c, d]
    });
    let words = sha512::avx512::hash(&messages).map(|word| store(sha512::avx512::swap_bytes(word)));
    to_lanes(&std::array::from_fn(|lane| scalar::reduce(&words.map(|word| word[lane]))))
}
