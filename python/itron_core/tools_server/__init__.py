"""The tools server (FDM Tools): stores issued material and passes it to field tools when they sync."""

from itron_core.tools_server.server import BearerRecord, Quotas, ToolRecord, ToolsServer

__all__ = ["BearerRecord", "Quotas", "ToolRecord", "ToolsServer"]
