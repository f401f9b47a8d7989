//! Payloads and scopes: what is accepted is written again as it was.

use itron_core::format::claims::{Claims, MAX_TIME, MIN_TIME};
use itron_core::format::scope::{ALL_ACTIONS, Reading, Scope};
use itron_core::format::token_type::TokenType;

/// As the module says.
pub fn check(data: &[u8]) {
    for token_type in TokenType::ALL {
        let Ok(claims) = Claims::read(data, token_type) else { continue };
        assert_eq!(claims.to_bytes(), data);
        let times = [claims.expires_at, claims.issued_at, claims.begins_at()];
        assert!(times.into_iter().all(|time| (MIN_TIME..=MAX_TIME).contains(&time)));
        if claims.check(token_type, token_type.hard_lifetime()).is_ok() {
            assert!(claims.begins_at() < claims.expires_at);
        }
        if let Some(scope) = claims.scope {
            check_scope(&scope.to_bytes());
        }
    }
    check_scope(data);
}

fn check_scope(document: &[u8]) {
    let Ok(Reading::Scope(scope)) = Scope::read(document) else { return };
    assert_eq!(scope.to_bytes(), document);
    assert_eq!(scope.actions & !ALL_ACTIONS, 0);
    assert!(!scope.opens_session || scope.is_one_bit && scope.actions == 1 << 24);
    if scope.actions != 0 {
        let own = Scope::from_actions(scope.actions).to_bytes();
        let Ok(Reading::Scope(read)) = Scope::read(&own) else { panic!("{own:02x?}") };
        assert_eq!(read.actions, scope.actions);
    }
}
