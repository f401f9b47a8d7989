"""Keys of readings from a master key that stays in an HSM: derived there for the devices that the telegrams name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itron_core._rust import ReadingKeys
from itron_core.enums import ReadingCode

if TYPE_CHECKING:
    from itron_core.hsm import Pkcs11MasterKey
    from itron_core.readings import ReadingResults

__all__ = ["HsmKeys", "derivation_id"]

SHORT, LONG = 16, 32
# The first of a maker's letters is 1, and each takes five bits (EN 13757-3).
LETTER_BITS, BEFORE_A = 5, ord("A") - 1


class HsmKeys:
    """The derivation that a call asks for; each device is asked of the HSM once."""

    def __init__(self, master: Pkcs11MasterKey, *, utility: str, key_version: int) -> None:
        self._master = master
        self._ask: dict[str, Any] = {"utility": utility, "key_version": key_version}
        self._known: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def open(self, opened: Any) -> ReadingResults:
        """Open telegrams by `opened`, which takes the keys: first without any, which names the devices."""
        results: ReadingResults = opened(None)
        devices = dict.fromkeys(_devices(results), SHORT)
        if not devices:
            return results
        results = opened(self._keys(devices))
        # What says AES-256 takes a longer key, which its header alone does not tell from outside.
        long = dict.fromkeys(_devices(results, ReadingCode.KEY_LENGTH), LONG)
        return opened(self._keys(devices | long)) if long else results

    def _keys(self, lengths: dict[str, int]) -> ReadingKeys:
        for length in (SHORT, LONG):
            new = [name for name, its in lengths.items() if its == length and (name, length) not in self._known]
            ids = [derivation_id(name) for name in new]
            if not ids:
                continue
            derived = [self._master.derive_keys(ids, label=label, length=length, **self._ask) for label in LABELS]
            for place, name in enumerate(new):
                self._known[name, length] = (derived[0].key(place), derived[1].key(place))
        pairs = [self._known[one] for one in lengths.items()]
        return ReadingKeys(list(lengths), [first for first, _ in pairs], [second for _, second in pairs])


LABELS = ("read-enc", "read-auth")


def _devices(results: ReadingResults, code: ReadingCode = ReadingCode.NO_KEY) -> list[str]:
    rows = zip(results["code"], results["device"], strict=True)
    return [device for number, device in rows if number == code and device is not None]


def derivation_id(name: str) -> str | bytes:
    """Return what a derivation takes for the device of a reading: 8 bytes, or the `aud` itself.

    A wmbus device is its address as sent (maker, id, version, type), a dlms device its system title.
    """
    kind, _, rest = name.partition(":")
    if kind == "dlms":
        return bytes.fromhex(rest)
    if kind != "wmbus":
        return name
    letters, number, version, medium = rest[:3], *rest[4:].split("-")
    maker = 0
    for letter in letters:
        maker = maker << LETTER_BITS | ord(letter) - BEFORE_A
    return maker.to_bytes(2, "little") + bytes.fromhex(number)[::-1] + bytes.fromhex(version + medium)
