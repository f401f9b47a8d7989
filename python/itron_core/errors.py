"""The exceptions: an invalid call, an unusable key, a refused token.

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
    """The base of all exceptions of this package."""


class InputError(ItronCoreError, ValueError, TypeError):
    """An invalid call: an argument or a column of a wrong type, length or value.

    It is both a ValueError and a TypeError, so that either can be caught.
    """


class KeyRefused(ItronCoreError, ValueError):  # noqa: N818  # it is the key that was refused
    """An unusable key: not a point of its curve, of small order, duplicate, or with a private part."""


class TokenRefused(ItronCoreError):  # noqa: N818  # it is the token that was refused
    """A refused token in a call that can only return a valid one.

    `code` is the `Code`, or its number; never `Code.OK`.
    """

    code: Code
    name: str

    def __init__(self, code: int) -> None:
        self.code = Code(code)
        self.name = self.code.name.lower()
        # The only argument, so that pickle and copy restore the same exception.
        super().__init__(self.code)

    def __str__(self) -> str:
        """Return the name, the number and the sentence."""
        return f"{self.name} ({int(self.code)}): {self.code.explain()}"


class AuditError(ItronCoreError):
    """An audit log that cannot be written, or contradicts its checkpoint.

    `index` is the first wrong entry, if there is one; `path` is the file, relative to the log's folder.
    """

    index: int | None
    path: str | None

    def __init__(self, message: str, *, index: int | None = None, path: str | None = None) -> None:
        self.index, self.path = index, path
        super().__init__(message)


class StoreError(ItronCoreError):
    """An unusable store: locked, full, corrupted or unreachable; nothing of the call was stored."""


class ExchangeError(ItronCoreError):
    """A failed exchange between parties: the other is unreachable, or its answer is invalid; nothing of it was stored."""


class RequestRefused(ItronCoreError):  # noqa: N818  # it is the request that was refused
    """A refused request of a user or a tool; `reason` is a stable name, and the message states what to do."""

    reason: str

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(reason, message)

    def __str__(self) -> str:
        """Return the name and the sentence."""
        return f"{self.reason}: {self.args[1]}"


class SignerError(ItronCoreError):
    """An unusable key outside this process: a missing library, token or key, or a failed HSM."""


class PinRefused(SignerError):  # noqa: N818  # it is the PIN that was refused
    """A PIN refused by an HSM: wrong, expired or locked. It is not tried again, since a few wrong ones lock a token."""
