//! Whole tokens through verification: arbitrary bytes, parts of genuine tokens, and edited documents that were signed.

use crate::issuers::NOW;
use crate::source::{Source, lengthened};
use crate::tokens;
use itron_core::format::token_type::TokenType;
use itron_core::token::verify::Call;

/// As the module says.
pub fn check(data: &[u8]) {
    for token_type in TokenType::ALL {
        tokens::check(&Call::new(token_type, NOW), data);
    }
    let choices = lengthened(data, 512);
    let mut source = Source::new(&choices);
    let token_type = source.choose(&TokenType::ALL);
    let call = tokens::call(&mut source, token_type);
    tokens::check_signed(&mut source, &call);
    let altered: Vec<_> = (0..=source.below(5)).map(|_| tokens::altered(&mut source)).collect();
    for token in &altered {
        tokens::check(&call, token);
    }
    if source.once_in(16) {
        // More than the rows for which no thread is woken.
        tokens::check_many(&call, &altered, 65 + source.below(100));
    }
}
