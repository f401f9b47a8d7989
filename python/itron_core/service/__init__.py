"""Server and client of the tools server over HTTP. Each name is loaded on first use, since they need different extras."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itron_core.service.app import ConnectionLimits, ServiceLimits, create_app
    from itron_core.service.bearer import bearer_token
    from itron_core.service.client import RemoteToolsServer

__all__ = ["ConnectionLimits", "RemoteToolsServer", "ServiceLimits", "bearer_token", "create_app"]

_HOMES = {
    "ConnectionLimits": "limits",
    "RemoteToolsServer": "client",
    "ServiceLimits": "limits",
    "bearer_token": "bearer",
    "create_app": "app",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
