"""One key of a token, and the session it is used through.

A session that was lost is opened again once. A PIN that was refused is never tried again: few wrong ones lock a token.
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

# How long a fork waits for another thread's call of the library, in seconds.
SECONDS_TO_WAIT_FOR_A_CALL = 30.0


class _Process:
    """One process as PKCS#11 sees it; after a fork the child is another.

    A PKCS#11 library holds one state for the whole process, and python-pkcs11 initializes it without locks of its own: so
    one caller at a time. Reentrant, for a callable that takes the PIN from another token.
    """

    def __init__(self) -> None:
        self._held = False
        self.become_another()

    def become_another(self) -> None:
        """Be the child of a fork: no session is its own. A process number would not tell, as it may come again."""
        self.one_caller = threading.RLock()
        self.identity = object()

    def wait_for_caller(self) -> None:
        """Fork between two calls: a lock inside the library that a thread holds would be held in the child for ever."""
        self._held = self.one_caller.acquire(timeout=SECONDS_TO_WAIT_FOR_A_CALL)

    def go_on(self) -> None:
        """Go on in the parent."""
        if self._held:
            self.one_caller.release()


PROCESS = _Process()
os.register_at_fork(
    before=PROCESS.wait_for_caller, after_in_parent=PROCESS.go_on, after_in_child=PROCESS.become_another
)

R = TypeVar("R")
Pin = bytes | str | Callable[[], bytes | str]


class Place(NamedTuple):
    """Where a key is."""

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
    """A key of the open session; `identity` tells it from any other key."""

    key: Any
    mechanism: Mechanism
    identity: bytes
    name: str


class AnotherKeyError(Exception):
    """What was used is not the key that was found: after a restart the numbers of keys and sessions start again."""


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
        """The key as it was found last."""
        assert self._held is not None  # noqa: S101  # the constructor found it or raised
        return self._held

    def use(self, work: Callable[[Held], R]) -> R:
        """Return what `work` makes of the key; where the token fails, once more through a new session.

        `work` raises AnotherKeyError where an answer is not this key's.
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
        """Close the session; nothing can be done with the key afterwards."""
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
            raise SignerError(f"{self.place} is another key than before")
        return held

    def _disconnect(self) -> None:
        if self._session is not None:
            _close(self._session)
            self._session = None

    def _login(self) -> Session:
        if self._refused:
            raise PinRefused(f"the PIN of {self.place} was refused before, and is not tried again")
        try:
            return _login(self.place, self._pin)
        except PinRefused:
            self._refused = True
            raise


class KeyHolder:
    """What works with one key of a token: closed when its `with` block ends, neither pickled nor copied."""

    __slots__ = ("_key",)

    _key: TokenKey

    def close(self) -> None:
        """Close the session and log out; other keys of the token in this process log in again when they are used."""
        self._key.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds a session and its PIN, which are neither pickled nor copied")

    __copy__ = __reduce__

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


def place_of(library: str | os.PathLike[str], token: str, label: str | None, key_id: bytes | None) -> Place:
    """Return where a key is; raises InputError where that is said in wrong types, or the key has no name."""
    path = os.fspath(library) if isinstance(library, os.PathLike) else library
    for name, value in {"library": path, "token": token, "label": label or ""}.items():
        if not _is_text(value):
            raise InputError(f"{name} {value!r}; wanted text")
    if not isinstance(key_id or b"", bytes):
        raise InputError(f"key_id of {type(key_id).__name__}; wanted bytes")
    if not label and not key_id:
        raise InputError("a key without a name; wanted its `label`, its `key_id`, or both")
    return Place(path, token, label, key_id)


def _is_text(value: object) -> bool:
    """Return whether it is text that has a form in UTF-8, as PKCS#11 wants it."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _login(place: Place, pin: Callable[[], bytes | str], *, rw: bool = False) -> Session:
    """Open a session of the logged-in user. Whoever logged in before in this process logged in for all of it."""
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
            f'the PIN of token "{place.token}" was refused; it is not tried again, as few wrong ones lock the token'
        )
    return SignerError(f'cannot log in to token "{place.token}": {answer} (CK_RV of PKCS#11)')


def _token(place: Place) -> tuple[str, Token]:
    """Return the library's name as it was loaded, and the token."""
    try:
        import pkcs11
        from pkcs11 import exceptions
    except ImportError as error:
        raise SignerError("a key in an HSM needs python-pkcs11: pip install 'itron-core[hsm]'") from error
    path = Path(place.library)
    # One library by two names would be initialized twice.
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
        raise SignerError(f'two tokens "{place.token}" in the slots of "{place.library}"; wanted one') from error
    except exceptions.PKCS11Error as error:
        raise SignerError(f'the slots of "{place.library}" cannot be read: {_words(error)}') from error


def _pin_text(pin: object) -> str:
    """Return the PIN as text; an error about it, or one chained to it, would show it."""
    if not isinstance(pin, str | bytes):
        raise InputError(f"a PIN of {type(pin).__name__}; wanted text or bytes, or a callable that returns them")
    data = pin.encode(errors="surrogatepass") if isinstance(pin, str) else pin
    text = data.decode(errors="replace")
    if text.encode() != data:
        raise InputError("a PIN that is no UTF-8 text")
    return text


def make(place: Place, pin: Pin, create: Callable[[Session], object]) -> None:
    """Make a key in a session of its own that may write; never beside another of that label."""
    from_caller = pin if callable(pin) else lambda: pin
    with PROCESS.one_caller:
        session = _login(place, from_caller, rw=True)
        try:
            if _or_signer_error(place, lambda: objects(session, Place(*place[:3], None))):
                raise SignerError(f"{place} cannot be made: an object of that label is there already")
            _or_signer_error(place, lambda: create(session))
        finally:
            _close(session)


def _close(session: Session) -> None:
    from pkcs11.exceptions import PKCS11Error

    with suppress(PKCS11Error):  # it is gone already
        session.close()


def _or_signer_error(place: Place, call: Callable[[], R]) -> R:
    from pkcs11.exceptions import PKCS11Error

    try:
        return call()
    except PKCS11Error as error:
        raise SignerError(f"{place}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """Return what a token said: its errors' names say more than their texts, which are mostly empty."""
    return f"{type(error).__name__} {error}".strip()


def objects(session: Session, place: Place, **more: Any) -> list[Any]:
    """Return the objects of this name that have the attributes `more`, by their names without CKA_."""
    from pkcs11 import Attribute

    wanted = {Attribute[name]: value for name, value in more.items()}
    if place.label:
        wanted[Attribute.LABEL] = place.label
    if place.key_id:
        wanted[Attribute.ID] = place.key_id
    return list(session.get_objects(wanted))


def only(place: Place, found: list[Any], kind: str) -> Any:
    """Return the one object that was found; raises SignerError where there is none, or a choice."""
    if len(found) != 1:
        raise SignerError(f"{place}: {len(found) or 'no'} {kind}s of that name; wanted one")
    return found[0]


def check_stays(place: Place, key: Key) -> None:
    """Raise SignerError for a key that could be read out."""
    from pkcs11 import Attribute

    if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
        raise SignerError(f"{place} may leave the token; wanted one that is sensitive and not extractable")
