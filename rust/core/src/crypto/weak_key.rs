//! Why a public key cannot be used.

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakKey {
    /// Of a wrong length.
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes that were expected, and of which algorithm.
        expected: &'static str,
    },
    /// Not the canonical encoding of a point of the curve.
    NotOnCurve,
    /// Of small order, or with a torsion component.
    Torsion,
}

impl std::fmt::Display for WeakKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { got, expected } => write!(f, "got {got} bytes, expected {expected}"),
            Self::NotOnCurve => f.write_str("the bytes are not the canonical encoding of a point of the curve"),
            Self::Torsion => f.write_str("the point is of small order or has a torsion component"),
        }
    }
}
