"""The options that say how telegrams are opened, declared once for all commands that open some."""

from __future__ import annotations

import inspect
import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from itron_core.cli.columns import TEXT, rows_counted_from
from itron_core.cli.derive import Kdf
from itron_core.cli.failures import UnreadableError, UsageError
from itron_core.cli.files import read_rows
from itron_core.cli.hsm_readings import HsmKeys
from itron_core.cli.key_files import read_sealed_master_key
from itron_core.cli.options import PIN_FILE, with_options
from itron_core.cli.pkcs11 import is_uri, master_key_at
from itron_core.cli.telegrams import COLUMNS, ReadingFormat, telegrams_in
from itron_core.readings import KeySource, ReadingKeys, ReadingResults, open_readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SECRETS", "Opener", "Opening", "Profile", "with_opening"]


class Profile(StrEnum):
    """The profiles of telegrams."""

    COSE = "cose"
    WMBUS = "wmbus"
    DLMS = "dlms"


QUOTED: Final = r"""(["']).*\1"""
SECRETS: Final = frozenset({"key", "authentication_key"})
OF_DLMS: Final = frozenset({"authentication_key", "system_title"})

SOURCE = typer.Argument(
    metavar="FILE", help="Lines of hexadecimal digits, or CSV, JSON Lines, Parquet; - is standard input."
)
FORMAT = typer.Option("--format", help="The file's format, if its suffix does not show it. Default: hex.")
PROFILE = typer.Option("--profile", help="What the telegrams are.")
KEYS = typer.Option("--keys", metavar="FILE", help="A CSV or JSON Lines file: device, key, authentication_key.")
MASTER = typer.Option(
    "--master", metavar="KEY", help="Derive the keys from this master key, a file or a pkcs11: URI (with --utility)."
)
UTILITY = typer.Option(help="The utility's id, 1 to 16 ASCII characters.")
KEY_VERSION = typer.Option(min=0, help="The version of the derived keys.")
KDF = typer.Option(help="The derivation function. Default: kbkdf-hmac-sha256, or the HSM key's own.")
COLUMN = typer.Option(help="The name of the column of telegrams.")
ASSURANCE = typer.Option(
    "--minimum-assurance", min=0, max=128, help="Bits that a check must have. Default: 16 for wmbus, else 64."
)
PLAIN = typer.Option("--allow-plain", help="Hand out telegrams that are not protected, if no key is given for them.")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The telegrams of a command, what they are, and where their keys come from."""

    source: Annotated[str, SOURCE]
    profile: Annotated[Profile, PROFILE]
    keys: Annotated[Path | None, KEYS] = None
    master: Annotated[str | None, MASTER] = None
    utility: Annotated[str | None, UTILITY] = None
    key_version: Annotated[int, KEY_VERSION] = 1
    kdf: Annotated[Kdf | None, KDF] = None
    pin_file: Annotated[Path | None, PIN_FILE] = None
    column: Annotated[str, COLUMN] = "telegram"
    minimum_assurance: Annotated[int | None, ASSURANCE] = None
    allow_plain: Annotated[bool, PLAIN] = False
    input_format: Annotated[ReadingFormat | None, FORMAT] = None

    def batches(self) -> Iterator[Any]:
        """Read the telegrams, one record batch at a time."""
        return telegrams_in(self.source, self.input_format, self.column)

    def opener(self, threads: int | None = None) -> Opener:
        """Read the keys, and return the function that opens a batch."""
        return Opener(self, self._held(), threads)

    def _held(self) -> ReadingKeys | KeySource | HsmKeys | None:
        if self.keys is not None and self.master is not None:
            raise UsageError("--keys and --master: got both, expected one of them")
        if self.master is None:
            for name, value in (("--utility", self.utility), ("--pin-file", self.pin_file)):
                if value is not None:
                    raise UsageError(f"{name}: expected only with --master", "name the master key: --master FILE")
            return None if self.keys is None else _keys_in(self.keys)
        if self.utility is None:
            raise UsageError("--utility is missing", "keys are derived for a utility: --utility UTIL0001")
        if is_uri(self.master):
            in_hsm = master_key_at(self.master, self.pin_file)
            if self.kdf is not None and in_hsm.kdf != self.kdf.value:
                raise UsageError(
                    f"--kdf: got {self.kdf.value}, expected {in_hsm.kdf}, by which the key in the HSM derives"
                )
            return HsmKeys(in_hsm, utility=self.utility, key_version=self.key_version)
        name = (self.kdf or Kdf.KBKDF_HMAC_SHA256).value
        master = read_sealed_master_key(Path(self.master))
        return KeySource(master, utility=self.utility, key_version=self.key_version, kdf=name)


class Opener:
    """Opens batches of telegrams with the keys that were read once."""

    def __init__(self, asked: Opening, held: ReadingKeys | KeySource | HsmKeys | None, threads: int | None) -> None:
        self._column, self._held = asked.column, held
        self._names = [
            name
            for name in COLUMNS
            if not (held is not None and name in SECRETS) and not (asked.profile != Profile.DLMS and name in OF_DLMS)
        ]
        self._options: dict[str, Any] = {
            "profile": asked.profile.value,
            "minimum_assurance": asked.minimum_assurance,
            "allow_plain": asked.allow_plain,
            "threads": threads,
        }

    def __call__(self, batch: Any) -> ReadingResults:
        """Return one row per telegram."""
        there = [name for name in self._names if name in batch.schema.names]
        options = self._options | {COLUMNS[name][0]: null_if_empty(batch[name]) for name in there}
        keys = options.pop("keys", self._held)

        def opened(keys: object) -> ReadingResults:
            return open_readings(batch[self._column], keys, **options)

        return keys.open(opened) if isinstance(keys, HsmKeys) else opened(keys)


def with_opening(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command whose parameter `asked` is an `Opening`: on the command line, all options of one."""
    return with_options("asked", Opening, inspect.signature(Opening, eval_str=True).parameters.values())(command)


def _keys_in(path: Path) -> ReadingKeys:
    import pyarrow as pa

    kinds = dict.fromkeys(("device", "key", "authentication_key"), TEXT)
    with _no_key_shown(path):
        table = pa.Table.from_batches(list(read_rows(str(path), None, kinds)))
    if missing := [name for name in ("device", "key") if name not in table.column_names]:
        # The columns that are there are not shown: without a header they are keys.
        raise UnreadableError(f'{path}: no column "{missing[0]}"', "the first line names them: device,key")
    second = table["authentication_key"] if "authentication_key" in table.column_names else None
    columns = (None if one is None else null_if_empty(one.combine_chunks()) for one in (table["key"], second))
    with _no_key_shown(path), rows_counted_from(0):
        return ReadingKeys(table["device"], *columns)


@contextmanager
def _no_key_shown(path: Path) -> Iterator[None]:
    """Raise what is raised without the text that came: it is a key where the columns are in another order."""
    try:
        yield
    except UnreadableError as error:
        if not path.exists():
            raise
        shown = re.sub(QUOTED, "another text", str(error))
        raise UnreadableError(shown if shown.startswith(str(path)) else f"{path}: {shown}", error.hint) from None


def null_if_empty(column: Any) -> Any:
    """Turn empty texts into nulls: a text format has no other way to give none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
