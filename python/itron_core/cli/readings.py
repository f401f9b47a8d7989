"""Protected readings in files: open them, count what became of them, explain one."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from itron_core.cli.answers import Beside, record_batch
from itron_core.cli.columns import INTEGERS, TEXT, check_columns
from itron_core.cli.derive import Kdf
from itron_core.cli.failures import UsageError
from itron_core.cli.files import BATCH_ROWS, FORMATS, STANDARD_STREAM, read_rows, rows_to, text_lines
from itron_core.cli.hsm_readings import HsmKeys
from itron_core.cli.key_files import read_sealed_master_key
from itron_core.cli.options import JSON, OUTPUT_FILE, OUTPUT_FORMAT, THREADS, FileFormat, group
from itron_core.cli.output import exit_code, say, show, show_counts, show_json, with_progress
from itron_core.cli.pkcs11 import is_uri, master_key_at
from itron_core.enums import ReadingCode
from itron_core.readings import KeySource, ReadingKeys, ReadingResults, open_readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["readings_app"]

readings_app = group("Protected meter readings: open, count, explain.")


class Profile(StrEnum):
    """What telegrams are."""

    COSE = "cose"
    WMBUS = "wmbus"
    DLMS = "dlms"


class ReadingFormat(StrEnum):
    """The formats of a file of telegrams."""

    HEX = "hex"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"


# The columns beside that of the telegrams: the argument of the call, and how a text format's cells are read.
COLUMNS: Final = {
    "key": ("keys", TEXT),
    "authentication_key": ("authentication_keys", TEXT),
    "system_title": ("system_titles", TEXT),
    "counter_floor": ("counter_floors", INTEGERS),
}
SECRETS: Final = frozenset({"key", "authentication_key"})
# wmbusmeters writes telegram=|...|, with marks between the fields; rtl-wmbus writes fields joined by ;, the last in 0x.
WMBUSMETERS: Final = re.compile(r"telegram=\|+([0-9A-Fa-f_|]+?)\|*(?:\+\d+)?$")
DIGITS: Final = re.compile(r"(?:0x)?[0-9A-Fa-f]{2,}")

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


@readings_app.command("open")
def open_(
    source: Annotated[str, SOURCE],
    profile: Annotated[Profile, PROFILE],
    keys: Annotated[Path | None, KEYS] = None,
    *,
    master: Annotated[str | None, MASTER] = None,
    utility: Annotated[str | None, UTILITY] = None,
    key_version: Annotated[int, KEY_VERSION] = 1,
    kdf: Annotated[Kdf | None, KDF] = None,
    column: Annotated[str, COLUMN] = "telegram",
    minimum_assurance: Annotated[int | None, ASSURANCE] = None,
    allow_plain: Annotated[bool, PLAIN] = False,
    threads: Annotated[int | None, THREADS] = None,
    input_format: Annotated[ReadingFormat | None, FORMAT] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Open telegrams.

    Adds one code per row, and the payload of each that opens. Keys come from --keys, from --master, or from the file's own columns key and authentication_key.
    """
    held = _keys(keys, master, utility, key_version, kdf)
    opened = partial(
        _opened, held=held, column=column, profile=profile, least=minimum_assurance, plain=allow_plain, threads=threads
    )
    counts: Counter[str] = Counter()
    beside = Beside()
    with rows_to(target, target_format) as write:
        for batch in with_progress(_telegrams(source, input_format, column), "telegrams opened"):
            results = opened(batch)
            counts += Counter(_counts(results)["code"])
            if target is not None:
                rest = batch.drop_columns([column, *SECRETS.intersection(batch.schema.names)])
                write(beside(rest, record_batch(results.names())))
    show_counts({"code": counts}, as_json=as_json, to_remarks=target == STANDARD_STREAM)
    raise typer.Exit(exit_code(counts, "ok"))


@readings_app.command("summary")
def summary(
    source: Annotated[str, SOURCE],
    profile: Annotated[Profile, PROFILE],
    keys: Annotated[Path | None, KEYS] = None,
    *,
    master: Annotated[str | None, MASTER] = None,
    utility: Annotated[str | None, UTILITY] = None,
    key_version: Annotated[int, KEY_VERSION] = 1,
    kdf: Annotated[Kdf | None, KDF] = None,
    column: Annotated[str, COLUMN] = "telegram",
    minimum_assurance: Annotated[int | None, ASSURANCE] = None,
    allow_plain: Annotated[bool, PLAIN] = False,
    threads: Annotated[int | None, THREADS] = None,
    input_format: Annotated[ReadingFormat | None, FORMAT] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Count codes, protections and assurances.

    Lists the devices whose telegrams did not all open.
    wrong_key: all telegrams of a device fail a check of 16 bits. corrupt: some do. plain: never encrypted, or decrypted before.
    """
    import pyarrow as pa

    held = _keys(keys, master, utility, key_version, kdf)
    whole = pa.Table.from_batches(list(with_progress(_telegrams(source, input_format, column), "telegrams read")))
    (batch,) = whole.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=whole.schema)]
    results = _opened(
        batch, held=held, column=column, profile=profile, least=minimum_assurance, plain=allow_plain, threads=threads
    )
    devices = [row for row in record_batch(results.devices()).to_pylist() if row["verdict"] != "ok"]
    counts = _counts(results)
    if as_json:
        show_json(results.summary() | {"devices": devices})
    else:
        show_counts(counts)
        if devices:
            say()
            show(list(devices[0]), [[str(cell) for cell in row.values()] for row in devices])
    raise typer.Exit(exit_code(counts["code"], "ok"))


@readings_app.command()
def explain(
    source: Annotated[str, SOURCE],
    row: Annotated[int, typer.Argument(metavar="ROW", min=1, help="The row, counted from 1 after any header.")],
    profile: Annotated[Profile, PROFILE],
    keys: Annotated[Path | None, KEYS] = None,
    *,
    master: Annotated[str | None, MASTER] = None,
    utility: Annotated[str | None, UTILITY] = None,
    key_version: Annotated[int, KEY_VERSION] = 1,
    kdf: Annotated[Kdf | None, KDF] = None,
    column: Annotated[str, COLUMN] = "telegram",
    minimum_assurance: Annotated[int | None, ASSURANCE] = None,
    allow_plain: Annotated[bool, PLAIN] = False,
    input_format: Annotated[ReadingFormat | None, FORMAT] = None,
) -> None:
    """Explain one telegram in sentences.

    Prints its payload if it opens.
    """
    held = _keys(keys, master, utility, key_version, kdf)
    rows = 0
    for batch in _telegrams(source, input_format, column):
        if rows < row <= rows + batch.num_rows:
            results = _opened(
                batch.slice(row - 1 - rows, 1),
                held=held,
                column=column,
                profile=profile,
                least=minimum_assurance,
                plain=allow_plain,
                threads=1,
            )
            say(results.explain(0))
            if results["code"][0] == ReadingCode.OK:
                say(results["payload"][0].hex())
            raise typer.Exit(exit_code(_counts(results)["code"], "ok"))
        rows += batch.num_rows
    raise UsageError(f"row {row:,} does not exist in {rows:,} rows", "rows are counted from 1 after any header")


def _counts(results: ReadingResults) -> dict[str, Counter[str]]:
    counted = {name: counts for name, counts in results.summary().items() if isinstance(counts, dict)}
    return {name: Counter(counts) for name, counts in counted.items() if name != "device"}


def _opened(
    batch: Any,
    *,
    held: ReadingKeys | KeySource | HsmKeys | None,
    column: str,
    profile: Profile,
    least: int | None,
    plain: bool,
    threads: int | None,
) -> ReadingResults:
    names = [name for name in COLUMNS if name in batch.schema.names]
    if held is not None:
        names = [name for name in names if name not in SECRETS]
    if profile is not Profile.DLMS:
        names = [name for name in names if name not in {"authentication_key", "system_title"}]
    given = {COLUMNS[name][0]: _null_if_empty(batch[name]) for name in names}
    keys = given.pop("keys", held)
    options: dict[str, Any] = {"minimum_assurance": least, "allow_plain": plain, "threads": threads} | given

    def opened(keys: object) -> ReadingResults:
        return open_readings(batch[column], keys, profile=profile.value, **options)

    return keys.open(opened) if isinstance(keys, HsmKeys) else opened(keys)


def _null_if_empty(column: Any) -> Any:
    """Turn empty texts into nulls: a text format has no other way to give none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)


# --- Keys ---


def _keys(
    keys: Path | None, master: str | None, utility: str | None, key_version: int, kdf: Kdf | None
) -> ReadingKeys | KeySource | HsmKeys | None:
    if keys is not None and master is not None:
        raise UsageError("--keys and --master: got both, expected one of them")
    if master is None:
        if utility is not None:
            raise UsageError("--utility: expected only with --master", "name the master key: --master FILE")
        return None if keys is None else _keys_in(keys)
    if utility is None:
        raise UsageError("--utility is missing", "keys are derived for a utility: --utility UTIL0001")
    if is_uri(master):
        in_hsm = master_key_at(master)
        if kdf is not None and in_hsm.kdf != kdf.value:
            raise UsageError(f"--kdf: got {kdf.value}, expected {in_hsm.kdf}, by which the key in the HSM derives")
        return HsmKeys(in_hsm, utility=utility, key_version=key_version)
    name = (kdf or Kdf.KBKDF_HMAC_SHA256).value
    return KeySource(read_sealed_master_key(Path(master)), utility=utility, key_version=key_version, kdf=name)


def _keys_in(path: Path) -> ReadingKeys:
    import pyarrow as pa

    kinds = dict.fromkeys(("device", "key", "authentication_key"), TEXT)
    table = pa.Table.from_batches(list(read_rows(str(path), None, kinds)))
    check_columns(str(path), table, ("device", "key"))
    second = table["authentication_key"] if "authentication_key" in table.column_names else None
    columns = (None if one is None else _null_if_empty(one.combine_chunks()) for one in (table["key"], second))
    return ReadingKeys(table["device"], *columns)


# --- Telegrams ---


def _telegrams(source: str, named: ReadingFormat | None, column: str) -> Iterator[Any]:
    """Read telegrams as record batches of at most 65,536 rows, with the column of that name; there is at least one."""
    suffix = FORMATS.get(Path(source).suffix.lower())
    if named is ReadingFormat.HEX or (named is None and (source == STANDARD_STREAM or suffix is None)):
        yield from _hex_lines(source, column)
        return
    file_format = suffix if named is None else FileFormat(named.value)
    is_text = file_format in {FileFormat.CSV, FileFormat.JSONL}
    kinds: Mapping[str, Any] = {name: kind for name, (_, kind) in COLUMNS.items() if is_text or kind is INTEGERS}
    for batch in read_rows(source, file_format, {column: TEXT, **kinds} if is_text else kinds):
        check_columns(source, batch, [column], "name the column of telegrams: --column NAME")
        yield batch


def _hex_lines(source: str, column: str) -> Iterator[Any]:
    import pyarrow as pa

    lines = (_telegram_of(line) for line in map(str.strip, text_lines(source)) if line and line[0] != "#")
    some = list(islice(lines, BATCH_ROWS))
    while True:
        yield pa.record_batch({column: pa.array(some, pa.string())})
        some = list(islice(lines, BATCH_ROWS))
        if not some:
            return


def _telegram_of(line: str) -> str:
    """Return the telegram's digits; a line without any stays as it is, and is a malformed row."""
    if found := WMBUSMETERS.search(line):
        return re.sub(r"[_|]", "", found[1])
    fields = [field.strip() for field in line.split(";")]
    if len(fields) > 1:
        marked = [field for field in fields if field[:2].lower() == "0x"]
        digits = marked or sorted((field for field in fields if DIGITS.fullmatch(field)), key=len)
        return digits[-1] if digits else line
    return line
