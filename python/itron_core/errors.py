"""The exceptions: a call that cannot be made, a key that cannot be used, a token that was refused.

A refused row of a bulk call is a value, never an exception.
"""

from itron_core.enums import Code

__all__ = [
    "AuditError",
    "ExchangeError",
    "InputError",
    "ItronCoreError",
    "KeyRefused",
    "PinRefused",
    "RequestRefused",
    "SignerError",
    "StoreError",
    "TokenRefused",
]


class ItronCoreError(Exception):
    """The base of everything that this package raises by itself."""


class InputError(ItronCoreError, ValueError, TypeError):
    """A call that cannot be made: an argument or a column of a wrong type, length or value.

    It is a ValueError and a TypeError both, so that either may be caught.
    """


class KeyRefused(ItronCoreError, ValueError):  # noqa: N818  # it is the key that was refused
    """A key that cannot be used: no point of its curve, of small order, named twice, or with a private part."""


class TokenRefused(ItronCoreError):  # noqa: N818  # it is the token that was refused
    """A token that was refused where only a good one can be returned.

    `code` is the `Code`, or its number; never `Code.OK`.
    """

    code: Code
    name: str

    def __init__(self, code: int) -> None:
        self.code = Code(code)
        self.name = self.code.name.lower()
        # The only argument, so that pickle and copy make the same exception again.
        super().__init__(self.code)

    def __str__(self) -> str:
        """Say the name, the number and the sentence."""
        return f"{self.name} ({int(self.code)}): {self.code.explain()}"


class AuditError(ItronCoreError):
    """An audit log that cannot be written, or is not what its checkpoint says.

    `index` is the first entry that is wrong, where one is; `path` the file, relative to the log's folder.
    """

    index: int | None
    path: str | None

    def __init__(self, message: str, *, index: int | None = None, path: str | None = None) -> None:
        self.index, self.path = index, path
        super().__init__(message)


class StoreError(ItronCoreError):
    """A store that cannot be used now: locked, full, corrupted or out of reach; nothing of the call was kept."""


class ExchangeError(ItronCoreError):
    """An exchange between parties that failed: out of reach, or an answer that may not be believed; nothing of it was kept."""


class RequestRefused(ItronCoreError):  # noqa: N818  # it is the request that was refused
    """What a person or a tool asked for and may not have; `reason` is a stable name, the message says how to get it."""

    reason: str

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(reason, message)

    def __str__(self) -> str:
        """Say the name and the sentence."""
        return f"{self.reason}: {self.args[1]}"


class SignerError(ItronCoreError):
    """A key outside this process that cannot be used now: no library, no token, no such key, or the HSM has failed."""


class PinRefused(SignerError):  # noqa: N818  # it is the PIN that was refused
    """A PIN that an HSM refused: wrong, expired or locked; it is not tried again, as few wrong ones lock a token."""
