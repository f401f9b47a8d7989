"""The field tool: syncs, lists its material, asks the policy before every message, records each before sending it."""

from itron_core.field_tool.commands import Command, Status
from itron_core.field_tool.field_tool import FieldTool
from itron_core.field_tool.sync import SyncReport
from itron_core.field_tool.work import Link, WorkResult

__all__ = ["Command", "FieldTool", "Link", "Status", "SyncReport", "WorkResult"]
