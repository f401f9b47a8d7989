//! Envelopes and protected headers: what is read is written again as it was.

use itron_core::format::cose::{self, Envelope, Header};
use itron_core::format::token_type::TokenType;

/// As the module says.
pub fn check(data: &[u8]) {
    check_header(data);
    for max_payload in [640, usize::MAX] {
        let Ok(envelope) = Envelope::read(data, max_payload) else { continue };
        assert!(envelope.payload.len() <= max_payload);
        assert_eq!(cose::write(envelope.protected, envelope.payload, envelope.signature), data);
        assert_eq!(cose::sig_structure(envelope.protected, envelope.payload), envelope.signed().concat());
        check_header(envelope.protected);
    }
}

fn check_header(document: &[u8]) {
    let read = Header::read(document);
    for token_type in TokenType::ALL {
        if let Some(usual) = Header::read_usual(document, token_type) {
            assert_eq!(read, Ok(usual));
        }
    }
    let Ok(header) = read else { return };
    if let (Some(alg), Some(token_type)) = (header.alg, TokenType::from_typ(header.typ)) {
        assert_eq!(Header::to_bytes(alg, header.kid, token_type), document);
    }
}
