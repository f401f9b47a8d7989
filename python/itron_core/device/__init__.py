"""A simulated meter or ERT (docs/device.md)."""

from itron_core.device.messages import Answer, Message, Outcome
from itron_core.device.simulated import Device
from itron_core.device.state import DeviceState, Session, Use

__all__ = ["Answer", "Device", "DeviceState", "Message", "Outcome", "Session", "Use"]
