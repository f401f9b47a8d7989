"""The security core for gas, water and electric meters and ERTs: verifies and decides whole routes in one call.

Independent of Itron; no interoperability with its security manager is claimed.
"""

from typing import TYPE_CHECKING

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
from itron_core.enums import (
    Action,
    ActionGroup,
    Code,
    Decision,
    DeviceClass,
    Mode,
    Need,
    Permission,
    Protection,
    ReadingCode,
    ReadingKey,
    Reason,
    SecurityLevel,
)
from itron_core.errors import (
    AuditError,
    ExchangeError,
    InputError,
    ItronCoreError,
    KeyRefused,
    PinRefused,
    RequestRefused,
    SignerError,
    StoreError,
    TokenRefused,
)
from itron_core.issuing import issue_delegation, issue_revocations, issue_tokens
from itron_core.policy import PolicyOptions, needs
from itron_core.routes import RouteResults, policy_table, process_batches, process_route
from itron_core.signing import LocalSigner, Signer
from itron_core.streams import verify_stream

if TYPE_CHECKING:
    from itron_core.device import Answer, Device, DeviceState, Message, Outcome
    from itron_core.field_tool import FieldTool
    from itron_core.hsm import Pkcs11MasterKey, Pkcs11Signer
    from itron_core.manager.security_manager import SecurityManager
    from itron_core.readings import (
        KeySource,
        ReadingKeys,
        ReadingResults,
        last_counters,
        open_reading_stream,
        open_readings,
        protect_readings,
        rising_counters,
    )
    from itron_core.tools_server import ToolsServer

__version__ = "0.1.0"

__all__ = [
    "Action",
    "ActionGroup",
    "Answer",
    "AuditError",
    "Code",
    "Column",
    "Decision",
    "DerivedKeys",
    "Device",
    "DeviceClass",
    "DeviceState",
    "ExchangeError",
    "FieldTool",
    "InputError",
    "ItronCoreError",
    "KeyRefused",
    "KeySource",
    "Keyring",
    "KeyringEntry",
    "LocalSigner",
    "MasterKey",
    "Message",
    "Mode",
    "Need",
    "Outcome",
    "Permission",
    "PinRefused",
    "Pkcs11MasterKey",
    "Pkcs11Signer",
    "PolicyOptions",
    "Protection",
    "PublicKey",
    "ReadingCode",
    "ReadingKey",
    "ReadingKeys",
    "ReadingResults",
    "Reason",
    "RequestRefused",
    "Revocations",
    "RouteResults",
    "SecurityLevel",
    "SecurityManager",
    "SessionResults",
    "SignatureResults",
    "Signer",
    "SignerError",
    "StoreError",
    "Token",
    "TokenRefused",
    "TokenResults",
    "ToolsServer",
    "check_sessions",
    "check_windows",
    "cpu_features",
    "derive_key",
    "derive_keys",
    "issue_delegation",
    "issue_revocations",
    "issue_tokens",
    "last_counters",
    "needs",
    "open_reading_stream",
    "open_readings",
    "policy_table",
    "process_batches",
    "process_route",
    "protect_readings",
    "rising_counters",
    "verify_signatures",
    "verify_stream",
    "verify_token",
    "verify_tokens",
]

# The parties of the exchange, and readings: loaded on first use, since verifying does not need them.
_LATER = {
    "Pkcs11MasterKey": "hsm",
    "Pkcs11Signer": "hsm",
    "FieldTool": "field_tool",
    "ToolsServer": "tools_server",
    "SecurityManager": "manager",
    "Answer": "device",
    "Device": "device",
    "DeviceState": "device",
    "Message": "device",
    "Outcome": "device",
    "KeySource": "readings",
    "ReadingKeys": "readings",
    "ReadingResults": "readings",
    "last_counters": "readings",
    "open_reading_stream": "readings",
    "open_readings": "readings",
    "protect_readings": "readings",
    "rising_counters": "readings",
    # Pickle finds a class of results by its name here.
    "CommandRequests": "_rust",
    "NamedResults": "_rust",
    "PolicyTable": "_rust",
    "ReadingDevices": "_rust",
}


# Modules that are there without an import of their own.
_MODULES = ("frames", "schemas")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
