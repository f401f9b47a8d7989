"""A simulated meter in a file: its state, the roots that it trusts, and where its reading key comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from itron_core._rust import Keyring, derive_keys
from itron_core.cli.failures import UnreadableError, UsageError
from itron_core.cli.key_files import read_sealed_master_key
from itron_core.device import Device
from itron_core.stores.private_files import write_private

if TYPE_CHECKING:
    from itron_core._rust import DerivedKeys
    from itron_core.device import Answer, Message, TrustUpdate
    from itron_core.enums import DeviceClass, Mode, SecurityLevel

__all__ = ["KeySource", "MeterInFile", "make_meter"]


class KeySource(NamedTuple):
    """Where a simulated meter derives its reading key from: no file of a meter holds a secret."""

    master: str
    utility: str

    def reading_key(self, device: Device) -> DerivedKeys:
        """Return the reading key of a device, of the version that it has."""
        return derive_keys(
            read_sealed_master_key(Path(self.master)),
            [device.device],
            utility=self.utility,
            key_version=device.state.key_version,
        )


class MeterInFile:
    """The link to a simulated meter in a file: answers each message, and stores the meter's new state."""

    def __init__(self, path: Path, now: int, *, loses_answers: bool = False) -> None:
        """Read the meter; with `loses_answers` it receives every message, but no answer comes back."""
        try:
            kept = json.loads(path.read_text())
            self.born, self._keys, state = int(kept["born"]), str(kept["keyring"]), str(kept["state"]).encode()
            self._source = KeySource(**kept["reading_key"]) if "reading_key" in kept else None
        except OSError as error:
            raise UnreadableError(f"the simulated device {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            hint = "itron-core device init writes one"
            raise UnreadableError(f"{path} is not the file of a simulated device", hint) from error
        roots = Keyring.from_jwks(self._keys)
        self.device = Device.from_bytes(state, keyring=roots)
        if self._source is not None:
            key = self._source.reading_key(self.device)
            self.device = Device.from_bytes(state, keyring=roots, reading_key=key)
        self._path, self._now, self._loses_answers = path, now, loses_answers

    def __call__(self, message: Message | TrustUpdate, /) -> Answer:
        """Answer a message."""
        answer = self.device.answer(message, uptime=max(self._now - self.born, self.device.state.uptime))
        self._keep()
        if self._loses_answers:
            raise TimeoutError("no answer came")
        return answer

    def trust(self, roots: Keyring, text: str) -> None:
        """Replace the roots that the meter trusts; the rest of its state stays."""
        self.device, self._keys = Device.from_bytes(self.device.to_bytes(), keyring=roots), text
        self._keep()

    def _keep(self) -> None:
        _keep(self._path, self.device, self._keys, self.born, self._source)


def make_meter(
    path: Path,
    device: str,
    device_class: DeviceClass,
    *,
    keys_text: str,
    mode: Mode,
    level: SecurityLevel,
    source: KeySource | None,
    now: int,
) -> None:
    """Create a simulated meter in a file."""
    made = Device(device, device_class, keyring=Keyring.from_jwks(keys_text), mode=mode, level=level)
    if path.exists():
        raise UsageError(f"{path} already exists", "name another file")
    if source is not None:
        source.reading_key(made)  # a wrong file or name is refused here, not at the meter
    _keep(path, made, keys_text, now, source)


def _keep(path: Path, device: Device, keyring: str, born: int, source: KeySource | None) -> None:
    kept = {"born": born, "keyring": keyring, "state": device.to_bytes().decode()}
    if source is not None:
        kept["reading_key"] = source._asdict()
    write_private(path, json.dumps(kept, indent=1).encode() + b"\n", replace=True)
