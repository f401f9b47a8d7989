"""The security manager (ISM): issues all security material at an officer's request."""

from itron_core.manager.issuance import RemoteMasterKey
from itron_core.manager.requests import Limits, Request, RequestRecord
from itron_core.manager.security_manager import IssueReport, Restored, SecurityManager

__all__ = ["IssueReport", "Limits", "RemoteMasterKey", "Request", "RequestRecord", "Restored", "SecurityManager"]
