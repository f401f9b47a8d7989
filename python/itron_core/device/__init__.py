"""A simulated meter or ERT (docs/device.md)."""

from itron_core.device.device import Device
from itron_core.device.state import DeviceState, Session, Use
from itron_core.exchange.messages import Answer, Message, Outcome, TrustUpdate

__all__ = ["Answer", "Device", "DeviceState", "Message", "Outcome", "Session", "TrustUpdate", "Use"]
