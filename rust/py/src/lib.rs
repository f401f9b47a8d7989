//! Crosses the boundary between Arrow or Python and the core, and nothing else: one verb per file.
//!
//! Verbs stand on `keys`, keys on `columns`, columns on `arguments`, and all on `errors`. Only `columns` names Arrow, only
//! `errors` creates exceptions.

use pyo3::prelude::*;

mod arguments;
mod bulk;
mod columns;
mod derive;
mod errors;
mod identity;
mod issuing;
mod keys;
mod machine;
mod names;
mod readings;
mod route;
mod sessions;
mod signatures;
mod token;
mod tokens;
mod verify_options;

/// Results are large blocks, which live as long as their caller wants.
#[global_allocator]
static MEMORY: itron_core::parallel::LargePages = itron_core::parallel::LargePages;

#[pymodule(gil_used = false)]
mod _rust {
    use super::machine;
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::columns::output::{Column, NamedResults, SessionResults, SignatureResults, TokenResults};
    #[pymodule_export]
    use super::derive::{derive_key, derive_keys};
    #[pymodule_export]
    use super::identity::{device_id, token_content};
    #[pymodule_export]
    use super::issuing::{PendingTokens, prepare_delegation, prepare_revocations, prepare_tokens};
    #[pymodule_export]
    use super::keys::derived_keys::DerivedKeys;
    #[pymodule_export]
    use super::keys::keyring::{Keyring, KeyringEntry};
    #[pymodule_export]
    use super::keys::master_key::MasterKey;
    #[pymodule_export]
    use super::keys::public_key::PublicKey;
    #[pymodule_export]
    use super::keys::revocations::{Revocations, accepted_revocations};
    #[pymodule_export]
    use super::machine::cpu_features;
    #[pymodule_export]
    use super::names::near_name;
    #[pymodule_export]
    use super::readings::{
        KeySource, ReadingColumns, ReadingDevices, ReadingKeys, open_readings, protect_readings, reading_names,
    };
    #[pymodule_export]
    use super::route::{CommandRequests, Policy, PolicyTable, RouteColumns, process_route};
    #[pymodule_export]
    use super::sessions::{check_sessions, check_windows};
    #[pymodule_export]
    use super::signatures::verify_signatures;
    #[pymodule_export]
    use super::token::{Token, verify_token};
    #[pymodule_export]
    use super::tokens::verify_tokens;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        machine::check_interpreter(module.py())?;
        machine::check_environment()
    }
}
