"""One key of a token, and the session that uses it.

A lost session is reopened once. A refused PIN is never tried again: a few wrong ones lock a token.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from itron_core.errors import InputError, PinRefused, SignerError
from itron_core.hsm.login import OK, logged_in

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pkcs11 import Mechanism, Session, Token
    from pkcs11.types import Key

__all__ = [
    "AnotherKeyError",
    "Held",
    "KeyHolder",
    "Place",
    "TokenKey",
    "check_stays",
    "make",
    "objects",
    "only",
    "place_of",
]

# How long a fork waits for another thread's library call, in seconds.
SECONDS_TO_WAIT_FOR_A_CALL = 30.0


class _Process:
    """One process in the sense of PKCS#11; after a fork, the child is a new one.

    A PKCS#11 library has one state per process, and python-pkcs11 initializes it without locks. Therefore one thread
    calls at a time. The lock is reentrant, for a `pin` callable that reads the PIN from another token.
    """

    def __init__(self) -> None:
        self._held = False
        self.become_another()

    def become_another(self) -> None:
        """Forget all sessions in the child of a fork. A process id cannot detect this, because ids are reused."""
        self.one_caller = threading.RLock()
        self.identity = object()

    def wait_for_caller(self) -> None:
        """Let a fork wait until no call runs: a lock that a thread holds in the library would stay locked in the child."""
        self._held = self.one_caller.acquire(timeout=SECONDS_TO_WAIT_FOR_A_CALL)

    def go_on(self) -> None:
        """Release the lock in the parent after the fork."""
        if self._held:
            self.one_caller.release()


PROCESS = _Process()
os.register_at_fork(
    before=PROCESS.wait_for_caller, after_in_parent=PROCESS.go_on, after_in_child=PROCESS.become_another
)

R = TypeVar("R")
Pin = bytes | str | Callable[[], bytes | str]


class Place(NamedTuple):
    """The library, the token and the name of a key."""

    library: str
    token: str
    label: str | None
    key_id: bytes | None

    def __str__(self) -> str:
        names = [f'"{self.label}"'] * (self.label is not None) + [f"id {(self.key_id or b'').hex()}"] * bool(
            self.key_id
        )
        return f'key {" ".join(names)} of token "{self.token}"'


class Held(NamedTuple):
    """A key of the open session; `identity` distinguishes it from any other key."""

    key: Any
    mechanism: Mechanism
    identity: bytes
    name: str


class AnotherKeyError(Exception):
    """Raised when a handle means another key than before: a restarted token reuses the numbers of keys and sessions."""


class TokenKey:
    """One key in a token, and the session through which it is used."""

    __slots__ = ("_find", "_held", "_open", "_pin", "_process", "_refused", "_session", "place")

    def __init__(self, place: Place, pin: Pin, find: Callable[[Session, Place], Held]) -> None:
        self.place, self._find = place, find
        self._pin = pin if callable(pin) else lambda: pin
        self._process = PROCESS.identity
        self._refused = False
        self._session: Session | None = None
        self._held: Held | None = None
        self._open = True
        with PROCESS.one_caller:
            self._connect()

    @property
    def held(self) -> Held:
        """The key as last found in the token."""
        assert self._held is not None  # noqa: S101  # the constructor found it or raised
        return self._held

    def use(self, work: Callable[[Held], R]) -> R:
        """Return `work(key)`. If the token fails, open a new session and try once more.

        `work` raises AnotherKeyError if an answer came from another key.
        """
        from pkcs11.exceptions import PKCS11Error

        with PROCESS.one_caller:
            self._check_usable()
            try:
                return work(self.held)
            except (PKCS11Error, AnotherKeyError):
                self._connect()
            try:
                return work(self.held)
            except (PKCS11Error, AnotherKeyError) as error:
                raise SignerError(f"{self.place} cannot be used: {_words(error)}") from error

    def close(self) -> None:
        """Close the session; the key cannot be used afterwards."""
        with PROCESS.one_caller:
            self._open = False
            if self._process is PROCESS.identity:
                self._disconnect()

    def _check_usable(self) -> None:
        if not self._open:
            raise SignerError(f"{self.place} was closed")
        if self._process is not PROCESS.identity:
            raise SignerError(
                f"{self.place} was opened in another process; open it in this one (PKCS#11 does not fork)"
            )

    def _connect(self) -> None:
        self._disconnect()
        session = self._login()
        try:
            self._held = self._found(session)
        except Exception:
            _close(session)
            raise
        self._session = session

    def _found(self, session: Session) -> Held:
        held = _or_signer_error(self.place, lambda: self._find(session, self.place))
        if self._held is not None and held.identity != self._held.identity:
            raise SignerError(f"{self.place} was replaced by another key")
        return held

    def _disconnect(self) -> None:
        if self._session is not None:
            _close(self._session)
            self._session = None

    def _login(self) -> Session:
        if self._refused:
            raise PinRefused(f"the PIN of {self.place} was refused before and is not tried again")
        try:
            return _login(self.place, self._pin)
        except PinRefused:
            self._refused = True
            raise


class KeyHolder:
    """Works with one key of a token. Closed at the end of its `with` block; cannot be pickled or copied."""

    __slots__ = ("_key",)

    _key: TokenKey

    def close(self) -> None:
        """Close the session and log out. Other keys of the token in this process log in again when used."""
        self._key.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied: it holds a session and its PIN")

    __copy__ = __reduce__

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


def place_of(library: str | os.PathLike[str], token: str, label: str | None, key_id: bytes | None) -> Place:
    """Return the place of a key. Raises InputError for a wrong type, or if the key has neither label nor id."""
    path = os.fspath(library) if isinstance(library, os.PathLike) else library
    for name, value in {"library": path, "token": token, "label": label or ""}.items():
        if not _is_text(value):
            raise InputError(f"{name}: got {value!r}, expected text")
    if not isinstance(key_id or b"", bytes):
        raise InputError(f"key_id: got {type(key_id).__name__}, expected bytes")
    if not label and not key_id:
        raise InputError("label, key_id: got neither, expected one of them or both")
    return Place(path, token, label, key_id)


def _is_text(value: object) -> bool:
    """Return whether it is text that UTF-8 can encode, as PKCS#11 requires."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _login(place: Place, pin: Callable[[], bytes | str], *, rw: bool = False) -> Session:
    """Open a session of the logged-in user. An earlier login in this process holds for all of it."""
    library, token = _token(place)
    secret = _pin_text(pin()).encode()
    with logged_in(library, token.slot.slot_id, secret, rw=rw) as answer:
        if answer == OK:
            return _or_signer_error(place, lambda: token.open(rw=rw))
    raise _refusal(place, answer)


def _refusal(place: Place, answer: str) -> SignerError:
    if answer == "locked":
        return PinRefused(f'the PIN of token "{place.token}" is locked; its security officer can set a new one')
    if answer == "expired":
        return PinRefused(f'the PIN of token "{place.token}" has expired; set a new one')
    if answer == "incorrect":
        return PinRefused(
            f'the PIN of token "{place.token}" was refused; it is not tried again, because a few wrong ones lock the token'
        )
    return SignerError(f'cannot log in to token "{place.token}": {answer} (CK_RV of PKCS#11)')


def _token(place: Place) -> tuple[str, Token]:
    """Return the name by which the library was loaded, and the token."""
    try:
        import pkcs11
        from pkcs11 import exceptions
    except ImportError as error:
        raise SignerError("a key in an HSM needs python-pkcs11; run: pip install 'itron-core[hsm]'") from error
    path = Path(place.library)
    # A library under two names would be initialized twice.
    library = str(path.resolve()) if path.exists() else place.library
    try:
        module = pkcs11.lib(library)
    except exceptions.PKCS11Error as error:
        raise SignerError(f'the PKCS#11 library "{place.library}" cannot be loaded: {_words(error)}') from error
    try:
        return library, module.get_token(token_label=place.token)
    except exceptions.NoSuchToken as error:
        raise SignerError(f'no token "{place.token}" in the slots of "{place.library}"') from error
    except exceptions.MultipleTokensReturned as error:
        raise SignerError(f'two tokens "{place.token}" in the slots of "{place.library}", expected one') from error
    except exceptions.PKCS11Error as error:
        raise SignerError(f'the slots of "{place.library}" cannot be read: {_words(error)}') from error


def _pin_text(pin: object) -> str:
    """Return the PIN as text. No error here may show it or chain an error that does."""
    if not isinstance(pin, str | bytes):
        raise InputError(f"pin: got {type(pin).__name__}, expected text or bytes, or a callable that returns them")
    data = pin.encode(errors="surrogatepass") if isinstance(pin, str) else pin
    text = data.decode(errors="replace")
    if text.encode() != data:
        raise InputError("pin: not valid UTF-8 text")
    return text


def make(place: Place, pin: Pin, create: Callable[[Session], object]) -> None:
    """Create a key in a read-write session. Raises SignerError if an object of that label exists."""
    from_caller = pin if callable(pin) else lambda: pin
    with PROCESS.one_caller:
        session = _login(place, from_caller, rw=True)
        try:
            if _or_signer_error(place, lambda: objects(session, Place(*place[:3], None))):
                raise SignerError(f"{place} cannot be created: an object of that label exists")
            _or_signer_error(place, lambda: create(session))
        finally:
            _close(session)


def _close(session: Session) -> None:
    from pkcs11.exceptions import PKCS11Error

    with suppress(PKCS11Error):  # the session is gone
        session.close()


def _or_signer_error(place: Place, call: Callable[[], R]) -> R:
    from pkcs11.exceptions import PKCS11Error

    try:
        return call()
    except PKCS11Error as error:
        raise SignerError(f"{place}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """Return a token's error as its name and text; the text is usually empty."""
    return f"{type(error).__name__} {error}".strip()


def objects(session: Session, place: Place, **more: Any) -> list[Any]:
    """Return the objects of this name that have the attributes `more`, by their names without CKA_."""
    from pkcs11 import Attribute

    template = {Attribute[name]: value for name, value in more.items()}
    if place.label:
        template[Attribute.LABEL] = place.label
    if place.key_id:
        template[Attribute.ID] = place.key_id
    return list(session.get_objects(template))


def only(place: Place, found: list[Any], kind: str) -> Any:
    """Return the only object found. Raises SignerError if there is none, or more than one."""
    if len(found) != 1:
        raise SignerError(f"{place}: found {len(found) or 'no'} {kind}s of that name, expected one")
    return found[0]


def check_stays(place: Place, key: Key) -> None:
    """Raise SignerError if the key can be exported."""
    from pkcs11 import Attribute

    if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
        raise SignerError(f"{place} is extractable; expected CKA_SENSITIVE and not CKA_EXTRACTABLE")
