//! Why a reading is refused, and what protects it: numbers that never change.

/// The answer for one telegram: `Ok`, or the first check that failed, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ReadingCode {
    /// Opened; the assurance says how sure.
    Ok = 0,
    /// A fault of this library; a refusal like any other.
    Internal = 900,
    /// The row has no telegram.
    NullTelegram = 1100,
    /// A structure or a length is wrong.
    TelegramMalformed = 1101,
    /// The checksums of the link layer are kept and wrong.
    FrameChecksum = 1102,
    /// A protection that is not opened here.
    ProtectionUnsupported = 1103,
    /// Plain, and a key was given for it or plain telegrams are not allowed.
    NotProtected = 1104,
    /// The row has no key.
    NoKey = 1105,
    /// A key has another length than the protection takes.
    KeyLength = 1106,
    /// The system title is not known.
    TitleMissing = 1107,
    /// A tag is there, the key that checks it is not.
    AuthenticationKeyMissing = 1108,
    /// The check could at best reach less than the call asks.
    TooWeak = 1109,
    /// A check of 16 bits failed.
    CheckFailed = 1110,
    /// The check value is another key's.
    KeyMismatch = 1111,
    /// A MAC or a tag is wrong.
    TagInvalid = 1112,
    /// The counter is at or below the floor.
    CounterNotAbove = 1113,
}

impl ReadingCode {
    /// Every code with its stable name, rising.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Ok, "ok"),
        (Self::Internal, "internal"),
        (Self::NullTelegram, "null_telegram"),
        (Self::TelegramMalformed, "telegram_malformed"),
        (Self::FrameChecksum, "frame_checksum"),
        (Self::ProtectionUnsupported, "protection_unsupported"),
        (Self::NotProtected, "not_protected"),
        (Self::NoKey, "no_key"),
        (Self::KeyLength, "key_length"),
        (Self::TitleMissing, "title_missing"),
        (Self::AuthenticationKeyMissing, "authentication_key_missing"),
        (Self::TooWeak, "too_weak"),
        (Self::CheckFailed, "check_failed"),
        (Self::KeyMismatch, "key_mismatch"),
        (Self::TagInvalid, "tag_invalid"),
        (Self::CounterNotAbove, "counter_not_above"),
    ];
}

/// What protects a telegram, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Protection {
    /// Nothing.
    None = 0,
    /// wmbus security mode 5: AES-CBC.
    Mode5 = 5,
    /// wmbus security mode 7: AES-CBC under a derived key, and a CMAC.
    Mode7 = 7,
    /// wmbus security mode 10: AES-CCM under a derived key.
    Mode10 = 10,
    /// wmbus extended link layer: AES-CTR.
    EllCtr = 32,
    /// dlms, encrypted only.
    Encrypted = 64,
    /// dlms, authenticated only.
    Authenticated = 65,
    /// dlms, encrypted and authenticated.
    Both = 66,
    /// Reading profile 1: `COSE_Encrypt0`.
    Cose = 96,
    /// One that is not opened here.
    Unsupported = 127,
}

impl Protection {
    /// Every protection with its stable name, rising.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::None, "none"),
        (Self::Mode5, "mode_5"),
        (Self::Mode7, "mode_7"),
        (Self::Mode10, "mode_10"),
        (Self::EllCtr, "ell_ctr"),
        (Self::Encrypted, "dlms_encrypted"),
        (Self::Authenticated, "dlms_authenticated"),
        (Self::Both, "dlms_both"),
        (Self::Cose, "cose"),
        (Self::Unsupported, "unsupported"),
    ];
}

/// A check's answer.
pub(super) type Check<T> = Result<T, ReadingCode>;
