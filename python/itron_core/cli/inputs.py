"""Values from the command line and from small files: times, names, keyrings, devices."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, Final

from itron_core._rust import Keyring
from itron_core.cli.columns import DEVICE_ID, INTEGER, check_columns, place_of
from itron_core.cli.failures import UnreadableError, UsageError
from itron_core.cli.files import format_of, read_rows
from itron_core.cli.options import FileFormat
from itron_core.cli.written_files import read_noted
from itron_core.enums import Action, Permission, named
from itron_core.errors import ItronCoreError

__all__ = [
    "actions_of",
    "bytes_of",
    "devices_of",
    "jwk_set_in",
    "member",
    "moment",
    "permissions_of",
    "planned_moment",
    "read_keyring",
    "text_of",
    "zone_of",
]

# The library accepts no `now` outside these years either; such a time is most likely in milliseconds.
FIRST_SECOND: Final = 1_577_836_800
LAST_SECOND: Final = 4_133_980_799
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
OFFSET: Final = re.compile(r"(?:Z|UTC|([+-])(\d{1,2})(?::?(\d{2}))?)", re.IGNORECASE)


def moment(given: str | None, option: str = "--now") -> int:
    """Return a time in whole seconds since 1970: the given one, else the clock's."""
    if given is None:
        return int(time.time())
    if re.fullmatch(r"-?\d+", given, re.ASCII):
        return _in_range(int(given), f"{option} {given}")
    try:
        read = datetime.fromisoformat(given)
    except ValueError:
        raise UsageError(
            f"{option}: got {given!r}, expected seconds since 1970 or ISO 8601 with an offset",
            "for example 2027-06-01T12:00:00+00:00",
        ) from None
    if read.tzinfo is None:
        whole = given if read.time() != datetime.min.time() or ":" in given else f"{given}T00:00:00"
        raise UsageError(
            f"{option}: got {given!r}, expected a time and a zone", f"for example {whole.replace(' ', 'T')}Z"
        )
    return _in_range(int(read.timestamp()), f"{option} {given}")


def past_moment(given: str, now: int, option: str = "--before") -> int:
    """Return a time that does not lie after `now`."""
    before = moment(given, option)
    if before > now:
        raise UsageError(f"{option} {given} lies in the future", "give a time in the past")
    return before


def _in_range(seconds: int, what: str) -> int:
    if not FIRST_SECOND <= seconds <= LAST_SECOND:
        hint = "seconds are expected, not milliseconds" if seconds > LAST_SECOND else "give seconds since 1970"
        raise UsageError(f"{what}: got {seconds}, expected a time from 2020 to 2100", hint)
    return seconds


def zone_of(name: str | None) -> tzinfo | None:
    """Return a time zone from its name (`Europe/Berlin`) or its offset (`+01:00`)."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if offset := OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups(default="0")
        shift = timedelta(hours=int(hours), minutes=int(minutes))
        if shift < timedelta(hours=24):
            return timezone(-shift if sign == "-" else shift)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"--time-zone: unknown zone {name!r}", "for example Europe/Berlin, America/Denver, UTC or +01:00"
        ) from None


def planned_moment(given: str, now: int, zone: tzinfo | None) -> int:
    """Return a time in everyday notation (`tomorrow 08:00`, `monday 7:30`, `17:00`, `2026-12-01 08:00`), or as `--now`.

    It is a wall clock's time in `zone`, or in the zone that follows it (`tomorrow 08:00 +01:00`). A time without a day is
    the next one; a weekday is the next such day after today.
    """
    words = given.split()
    if len(words) > 1 and not CLOCK.fullmatch(words[-1]):
        *words, last = words
        try:
            zone = zone_of(last)
        except UsageError:
            if ":" in words[-1]:
                raise
            raise _no_moment(given, f"; {last!r} is neither a time such as 08:00 nor a known zone") from None
    text = " ".join(words)
    if re.fullmatch(r"\d+", text, re.ASCII):
        return moment(text, "--at")
    day_word, _, clock_word = text.rpartition(" ")
    clock = CLOCK.fullmatch(clock_word)
    if clock is None or _day_is_a_date(day_word):
        return _iso_moment(text, given, zone)
    hour, minute, second = (int(part or 0) for part in clock.groups())
    if zone is None:
        raise UsageError(f"--at {given!r}: the time zone is missing", "name it: --time-zone Europe/Berlin")
    today = datetime.fromtimestamp(now, zone)
    try:
        planned = today.replace(hour=hour, minute=minute, second=second, microsecond=0, tzinfo=None)
    except ValueError:
        raise _no_moment(given) from None
    planned += timedelta(days=_days_ahead(day_word, today, given, passed=planned <= today.replace(tzinfo=None)))
    return _in_range(_wall_seconds(planned, zone, f"--at {given!r}"), f"--at {given}")


def _day_is_a_date(word: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", word))


def _days_ahead(word: str, today: datetime, given: str, *, passed: bool) -> int:
    name = word.lower()
    if not name:
        return int(passed)
    if name in {"today", "tomorrow"}:
        return int(name == "tomorrow")
    if name in WEEKDAYS:
        return (WEEKDAYS.index(name) - today.weekday() - 1) % 7 + 1
    raise _no_moment(given)


def _iso_moment(text: str, given: str, zone: tzinfo | None) -> int:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise _no_moment(given) from None
    if read.tzinfo is not None:
        return _in_range(int(read.timestamp()), f"--at {given}")
    if zone is None:
        raise UsageError(f"--at {given!r}: the time zone is missing", "name it: --time-zone Europe/Berlin")
    return _in_range(_wall_seconds(read, zone, f"--at {given!r}"), f"--at {given}")


def _wall_seconds(wall: datetime, zone: tzinfo, what: str) -> int:
    """Return a wall clock's time in seconds since 1970. Raises if it does not exist, or exists twice."""
    first, second = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise UsageError(
            f"{what}: the clocks change then, so this time does not exist or exists twice",
            "add an offset, such as +01:00",
        )
    return int(first.timestamp())


def _no_moment(given: str, what: str = "") -> UsageError:
    return UsageError(
        f"--at: got {given!r}, expected a day and a time{what}",
        "for example 'tomorrow 08:00', 'monday 7:30' or 2026-12-01T08:00:00+01:00",
    )


def devices_of(named: list[str] | None, route: str | None) -> list[str]:
    """Return the devices named on the command line, then those of a route."""
    found = list(named or [])
    if route is not None:
        found += _devices_in(route)
    if not found:
        raise UsageError("the devices are missing", "name them, or use --route FILE")
    return found


def _devices_in(route: str) -> list[str]:
    place = place_of(has_header=format_of(route, None, "--format") is FileFormat.CSV)
    found: list[str] = []
    for batch in read_rows(route, None, {"device": DEVICE_ID}):
        check_columns(route, batch, ["device"])
        for device in batch["device"].to_pylist():
            if not device:
                raise UnreadableError(f'{route}: {place(len(found))}, column "device": the cell is empty')
            found.append(str(device))
    return found


def text_of(path: Path, what: str) -> str:
    """Read a text file. Raises UnreadableError, which names the file."""
    try:
        return read_noted(path).decode("utf-8-sig")
    except OSError as error:
        raise UnreadableError(f"{what} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{what} {path} is not UTF-8 text") from error


def jwk_set_in(path: Path) -> tuple[str, Keyring]:
    """Read a JWK set; return its text, too. Raises UnreadableError, which names the file."""
    text = text_of(path, "the keyring")
    try:
        return text, Keyring.from_jwks(text)
    except ItronCoreError as error:
        raise UnreadableError(f"{path}: {error}", "a JWK set is written by: itron-core keys public") from error


def read_keyring(paths: list[Path] | None) -> Keyring:
    """Read a JWK set (text that starts with `{`), or PEM files. Without paths, return an empty keyring."""
    texts = {path: text_of(path, "the keyring") for path in paths or []}
    sets = [text for text in texts.values() if text.lstrip().startswith("{")]
    if sets and len(texts) > 1:
        raise UsageError(
            "--keyring: got several files, one of them a JWK set",
            "put all keys into one JWK set, or name only PEM files",
        )
    if sets:
        return Keyring.from_jwks(sets[0])
    return _keyring_of_pem(texts)


def _keyring_of_pem(texts: dict[Path, str]) -> Keyring:
    # The library reads files, but a pipe can be read only once, and has been read.
    from tempfile import TemporaryDirectory

    if all(path.is_file() for path in texts):
        return Keyring.from_pem_files([str(path) for path in texts])
    with TemporaryDirectory() as folder:
        copies = [Path(folder) / f"{number}.pem" for number in range(len(texts))]
        for copy, text in zip(copies, texts.values(), strict=True):
            copy.write_text(text)
        return Keyring.from_pem_files([str(copy) for copy in copies])


def permissions_of(names: str) -> Permission:
    """Return permissions from names joined by commas, or `all`."""
    if names.strip().lower() == "all":
        return ~Permission(0)
    granted = Permission(0)
    for name in filter(str.strip, names.split(",")):
        granted |= member(Permission, name, "permission")
    return granted


def actions_of(names: str) -> list[Action]:
    """Return actions from names joined by commas."""
    return [member(Action, name, "action") for name in names.split(",")]


def member(enumeration: Any, name: str, what: str) -> Any:
    """Return the member of an enumeration from its name, in any usual spelling, or its number."""
    found = member_or_none(enumeration, name)
    if found is None:
        known = ", ".join(member.name.lower() for member in enumeration)
        raise UsageError(f"unknown {what} {name!r}", f"known: {known}")
    return found


def member_or_none(enumeration: Any, name: str) -> Any:
    """Return the member of an enumeration from its name or number, or None."""
    if number := INTEGER.fullmatch(name.strip()):
        return next((member for member in enumeration if member == int(number[1])), None)
    return named(enumeration, name.strip())


def bytes_of(text: str, what: str) -> bytes:
    """Return the bytes of hexadecimal digits."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{what}: got {text!r}, expected hexadecimal digits") from None
