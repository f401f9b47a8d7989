//! Why a row is refused: the codes of the format, listed in the order of the checks.
//!
//! The numbers are stable for ever: codes are added, never renumbered.

/// Defines an enumeration of stable numbers, each with its name.
macro_rules! numbered {
    (
        $(#[$doc:meta])*
        pub enum $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $name:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum $enum { $($(#[$variant_doc])* $variant = $number,)* }

        impl $enum {
            /// All of them, rising.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}
pub(crate) use numbered;

numbered! {
    /// The answer for one row: `Ok`, or the first check that failed.
    pub enum Code {
        /// Verified and in force.
        Ok = 0 "ok",
        /// The row has no token: null or empty.
        NoToken = 1 "no_token",
        /// The row is text, but neither base64 nor hexadecimal of a token.
        TextUnreadable = 2 "text_unreadable",
        /// The token, its protected header or its payload is over its limit.
        TooLarge = 100 "too_large",
        /// The token is shorter than any token can be.
        TooSmall = 101 "too_small",
        /// Not well-formed CBOR.
        CborMalformed = 102 "cbor_malformed",
        /// Well-formed, but not the one deterministic encoding.
        CborNotDeterministic = 103 "cbor_not_deterministic",
        /// A map names one key twice.
        CborDuplicateKey = 104 "cbor_duplicate_key",
        /// Bytes are left over after a document.
        CborTrailing = 105 "cbor_trailing",
        /// Nested deeper than four.
        CborDepth = 106 "cbor_depth",
        /// Not tagged 18, `COSE_Sign1`.
        EnvelopeTag = 110 "envelope_tag",
        /// Not an array of bstr, map, bstr, bstr.
        EnvelopeShape = 111 "envelope_shape",
        /// The payload is nil.
        PayloadDetached = 112 "payload_detached",
        /// The unprotected header is not the empty map.
        UnprotectedNotEmpty = 113 "unprotected_not_empty",
        /// A protected label outside the profile.
        HeaderUnknown = 200 "header_unknown",
        /// alg, kid or typ is absent.
        HeaderMissing = 201 "header_missing",
        /// The protected header is not a map, or a label has a wrong type or size.
        HeaderType = 202 "header_type",
        /// `crit` is present.
        CritUnsupported = 203 "crit_unsupported",
        /// The token is of another type than asked for.
        TypMismatch = 210 "typ_mismatch",
        /// An algorithm outside the profile.
        AlgUnsupported = 220 "alg_unsupported",
        /// A deprecated algorithm that the call does not allow.
        AlgNotAllowed = 221 "alg_not_allowed",
        /// No key of the keyring has this kid.
        KeyUnknown = 230 "key_unknown",
        /// The key is of another algorithm.
        KeyMismatch = 231 "key_mismatch",
        /// The key may not sign this type of token.
        KeyNotForType = 232 "key_not_for_type",
        /// The signature is not 64 bytes.
        SignatureLength = 300 "signature_length",
        /// A number in the signature is out of range or not canonical.
        SignatureEncoding = 301 "signature_encoding",
        /// The signature is not this key's over these bytes.
        SignatureInvalid = 302 "signature_invalid",
        /// The payload is not a map of integer keys with at most 16 entries.
        ClaimsMalformed = 400 "claims_malformed",
        /// A required claim is absent.
        ClaimMissing = 401 "claim_missing",
        /// A claim is of a wrong type.
        ClaimType = 402 "claim_type",
        /// A claim that this type of token does not have.
        ClaimUnknown = 403 "claim_unknown",
        /// A claim of the right type with a wrong length, size or value.
        ClaimRange = 404 "claim_range",
        /// Issued for longer than allowed.
        LifetimeTooLong = 405 "lifetime_too_long",
        /// Expires before it begins.
        WindowInverted = 406 "window_inverted",
        /// Two claims contradict each other.
        ClaimInconsistent = 407 "claim_inconsistent",
        /// More than its issuer may grant.
        CeilingExceeded = 410 "ceiling_exceeded",
        /// Issued outside its issuer's validity.
        IssuerWindow = 411 "issuer_window",
        /// Issued in the future.
        IatInFuture = 500 "iat_in_future",
        /// Not valid yet.
        NotYetValid = 501 "not_yet_valid",
        /// Valid no longer.
        Expired = 502 "expired",
        /// The revocation snapshot has expired.
        SnapshotStale = 600 "snapshot_stale",
        /// The issuing key is revoked.
        IssuerRevoked = 601 "issuer_revoked",
        /// Below a watermark of its device.
        DeviceRevoked = 602 "device_revoked",
        /// Issued before the device's last key exchange.
        EpochStale = 603 "epoch_stale",
        /// This token, or the delegation of its key, is revoked.
        TokenRevoked = 604 "token_revoked",
        /// Issued for another device.
        AudienceMismatch = 700 "audience_mismatch",
        /// Does not cover the action asked for.
        ScopeDenied = 701 "scope_denied",
        /// Used already: the same token again.
        ReplayIdentical = 800 "replay_identical",
        /// Used already: another token under the same id.
        ReplayConflict = 801 "replay_conflict",
        /// A later sequence number was used already.
        SequenceOld = 802 "sequence_old",
        /// A fault of this library; a refusal like any other.
        Internal = 900 "internal",
    }
}

/// A check's answer.
pub type Check<T> = Result<T, Code>;

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_rise_in_the_order_of_the_checks() {
        assert!(Code::ALL.windows(2).all(|pair| (pair[0] as i16) < pair[1] as i16));
    }
}
