"""The security core for gas, water and electric meters and ERTs: whole routes verified and decided in one call.

Independent of Itron; no interoperability with its security manager is claimed.
"""

from itron_core._rust import (
    Column,
    DerivedKeys,
    Keyring,
    KeyringEntry,
    MasterKey,
    PublicKey,
    Revocations,
    SessionResults,
    SignatureResults,
    Token,
    TokenResults,
    check_sessions,
    check_windows,
    cpu_features,
    derive_key,
    derive_keys,
    verify_signatures,
    verify_token,
    verify_tokens,
)
from itron_core.errors import InputError, ItronCoreError, KeyRefused, TokenRefused
from itron_core.issuing import LocalSigner, Signer, issue_delegation, issue_revocations, issue_tokens
from itron_core.levels import (
    Action,
    ActionGroup,
    Code,
    Decision,
    DeviceClass,
    Mode,
    Need,
    Permission,
    ReadingKey,
    Reason,
    SecurityLevel,
)
from itron_core.policy import PolicyOptions, needs
from itron_core.routes import RouteResults, policy_table, process_batches, process_route
from itron_core.tokens import verify_stream

__version__ = "0.1.0"

__all__ = [
    "Action",
    "ActionGroup",
    "Code",
    "Column",
    "Decision",
    "DerivedKeys",
    "DeviceClass",
    "InputError",
    "ItronCoreError",
    "KeyRefused",
    "Keyring",
    "KeyringEntry",
    "LocalSigner",
    "MasterKey",
    "Mode",
    "Need",
    "Permission",
    "PolicyOptions",
    "PublicKey",
    "ReadingKey",
    "Reason",
    "Revocations",
    "RouteResults",
    "SecurityLevel",
    "SessionResults",
    "SignatureResults",
    "Signer",
    "Token",
    "TokenRefused",
    "TokenResults",
    "check_sessions",
    "check_windows",
    "cpu_features",
    "derive_key",
    "derive_keys",
    "issue_delegation",
    "issue_revocations",
    "issue_tokens",
    "needs",
    "policy_table",
    "process_batches",
    "process_route",
    "verify_signatures",
    "verify_stream",
    "verify_token",
    "verify_tokens",
]
