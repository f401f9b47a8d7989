//! Why a reading is refused, and what protects it: numbers that never change.

use crate::code::numbered;

numbered! {
    /// The answer for one telegram: `Ok`, or the first check that failed, in the order of the checks.
    pub enum ReadingCode {
        /// Opened; the assurance says how sure.
        Ok = 0 "ok",
        /// A fault of this library; a refusal like any other.
        Internal = 900 "internal",
        /// The row has no telegram.
        NullTelegram = 1100 "null_telegram",
        /// A structure or a length is wrong.
        TelegramMalformed = 1101 "telegram_malformed",
        /// The checksums of the link layer are kept and wrong.
        FrameChecksum = 1102 "frame_checksum",
        /// A protection that is not opened here.
        ProtectionUnsupported = 1103 "protection_unsupported",
        /// Plain, and a key was given for it or plain telegrams are not allowed.
        NotProtected = 1104 "not_protected",
        /// The row has no key.
        NoKey = 1105 "no_key",
        /// A key has another length than the protection takes.
        KeyLength = 1106 "key_length",
        /// The system title is not known.
        TitleMissing = 1107 "title_missing",
        /// A tag is there, the key that checks it is not.
        AuthenticationKeyMissing = 1108 "authentication_key_missing",
        /// The check could at best reach less than the call asks.
        TooWeak = 1109 "too_weak",
        /// A check of 16 bits failed.
        CheckFailed = 1110 "check_failed",
        /// The check value is another key's.
        KeyMismatch = 1111 "key_mismatch",
        /// A MAC or a tag is wrong.
        TagInvalid = 1112 "tag_invalid",
        /// The counter is at or below the floor.
        CounterNotAbove = 1113 "counter_not_above",
    }
}

numbered! {
    /// What protects a telegram, as its header says.
    pub enum Protection {
        /// Nothing.
        None = 0 "none",
        /// wmbus security mode 5: AES-CBC.
        Mode5 = 5 "mode_5",
        /// wmbus security mode 7: AES-CBC under a derived key, and a CMAC.
        Mode7 = 7 "mode_7",
        /// wmbus security mode 10: AES-CCM under a derived key.
        Mode10 = 10 "mode_10",
        /// wmbus extended link layer: AES-CTR.
        EllCtr = 32 "ell_ctr",
        /// dlms, encrypted only.
        Encrypted = 64 "dlms_encrypted",
        /// dlms, authenticated only.
        Authenticated = 65 "dlms_authenticated",
        /// dlms, encrypted and authenticated.
        Both = 66 "dlms_both",
        /// Reading profile 1: `COSE_Encrypt0`.
        Cose = 96 "cose",
        /// One that is not opened here.
        Unsupported = 127 "unsupported",
    }
}

/// A check's answer.
pub(super) type Check<T> = Result<T, ReadingCode>;
