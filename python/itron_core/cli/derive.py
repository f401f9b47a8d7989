"""Keys derived for the devices of a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from itron_core._rust import derive_keys
from itron_core.cli.columns import DEVICE_ID, check_columns
from itron_core.cli.failures import UsageError
from itron_core.cli.files import STANDARD_STREAM, read_rows, rows_to
from itron_core.cli.key_files import read_sealed_master_key
from itron_core.cli.options import INPUT_FILE, INPUT_FORMAT, OUTPUT_FORMAT, PIN_FILE, THREADS, FileFormat
from itron_core.cli.output import with_progress
from itron_core.cli.pkcs11 import is_uri, master_key_at

LONGEST_UTILITY = 16


class Kdf(StrEnum):
    """The derivation functions."""

    KBKDF_HMAC_SHA256 = "kbkdf-hmac-sha256"
    KBKDF_CMAC_AES256 = "kbkdf-cmac-aes256"
    HKDF_SHA256 = "hkdf-sha256"
    KBKDF_CMAC_AES128 = "kbkdf-cmac-aes128"


class Label(StrEnum):
    """The purposes of a derived key."""

    DEVICE = "device"
    READ_ENC = "read-enc"
    READ_AUTH = "read-auth"
    SESSION = "session"
    KCV = "kcv"


class Length(StrEnum):
    """The lengths of a derived key, in bytes."""

    SHORT = "16"
    LONG = "32"


def derive(
    source: Annotated[str, INPUT_FILE],
    master: Annotated[
        str,
        typer.Option("--master", metavar="KEY", help="The master key: a file of hexadecimal digits, or a pkcs11: URI."),
    ],
    utility: Annotated[str, typer.Option(help="The utility's id, 1 to 16 ASCII characters.")],
    *,
    label: Annotated[Label, typer.Option(help="The purpose of the keys.")] = Label.READ_ENC,
    key_version: Annotated[int, typer.Option(min=0, help="The version of the keys.")] = 1,
    length: Annotated[Length, typer.Option(help="The length of a key, in bytes.")] = Length.SHORT,
    kdf: Annotated[
        Kdf | None, typer.Option(help="The derivation function. Default: kbkdf-hmac-sha256, or the HSM key's own.")
    ] = None,
    pin_file: Annotated[Path | None, PIN_FILE] = None,
    show_keys: Annotated[
        bool, typer.Option("--show-keys", help="Write the keys themselves, not only their check values.")
    ] = False,
    threads: Annotated[int | None, THREADS] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write the rows here; - is standard output.")
    ] = STANDARD_STREAM,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Derive one key per device.

    Writes check values, and the keys themselves only with --show-keys.
    """
    import pyarrow as pa

    if not (utility.isascii() and 1 <= len(utility) <= LONGEST_UTILITY):
        raise UsageError(f"--utility: got {utility!r}, expected 1 to {LONGEST_UTILITY} ASCII characters")
    options: dict[str, Any] = {
        "utility": utility,
        "label": label.value,
        "key_version": key_version,
        "length": int(length.value),
    }
    if is_uri(master):
        held = master_key_at(master, pin_file)
        if kdf is not None and held.kdf != kdf.value:
            raise UsageError(f"--kdf: got {kdf.value}, expected {held.kdf}, by which the key in the HSM derives")

        def derived(devices: Any) -> Any:
            return held.derive_keys(devices.to_pylist(), **options)
    else:
        master_key = read_sealed_master_key(Path(master))

        def derived(devices: Any) -> Any:
            return derive_keys(
                master_key, devices, kdf=(kdf or Kdf.KBKDF_HMAC_SHA256).value, threads=threads, **options
            )

    if target_format is None and target == STANDARD_STREAM:
        target_format = FileFormat.CSV
    with rows_to(target, target_format, private=show_keys) as write:
        for batch in with_progress(read_rows(source, input_format, {"device": DEVICE_ID}), "keys derived"):
            check_columns(source, batch, ["device"])
            keys = derived(batch["device"])
            columns = {"device": batch["device"], "check_value": _fixed_rows(keys.check_values())}
            if show_keys:
                columns["key"] = _fixed_rows(keys.to_buffer())
            write(pa.record_batch(columns))


def _fixed_rows(buffer: Any) -> Any:
    """Return an (n, k) buffer as a binary column of n rows."""
    import pyarrow as pa

    view = memoryview(buffer)
    rows, width = (view.shape or (0, 1)) if view.nbytes else (0, 1)
    flat = view.cast("B") if view.nbytes else b""
    return pa.Array.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(flat)]).cast(pa.binary())
