"""Polars: expressions (extra `polars`). Frames go to `frames.verify` and `frames.process`, eager or lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itron_core.integrations.structs import TokenFunction
from itron_core.routes import NO_ROWS, process_route
from itron_core.schemas import Schema
from itron_core.tables import check_naming, library

if TYPE_CHECKING:
    from datetime import datetime

    from itron_core._rust import Keyring
    from itron_core.enums import Permission

__all__ = ["process_expr", "verify_expr"]


def verify_expr(
    token: Any, keyring: Keyring, *, now: int | datetime, audience: Any = None, name: str = "verified", **options: Any
) -> Any:
    """Return an expression: a struct of the result columns per token, called `name`; `.struct.unnest()` makes them columns.

    `token` and `audience` are names of columns or expressions; without an audience the device is not asked. `options` are those
    of `verify_tokens`, and `names`.
    """
    pl = library("polars", "integrations.polars")
    verified = TokenFunction(keyring, now=now, **options)
    device = pl.lit(None, pl.String) if audience is None else _expression(pl, audience)
    asked = pl.struct(_expression(pl, token).alias("token"), device.alias("device"))

    def answer(rows: Any) -> Any:
        return pl.Series(name, verified(rows.struct.field("token"), rows.struct.field("device")))

    return asked.map_batches(answer, pl.Struct(verified.schema.polars()), is_elementwise=True).alias(name)


def process_expr(
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    route: Any = None,
    names: bool = False,
    name: str = "decided",
    **options: Any,
) -> Any:
    """Return an expression: a struct of the result columns of `process_route` per row, called `name`.

    `route` is a column of structs with the route's columns, by its name or as an expression; by default, all columns of the frame.
    `options` are those of `process_route`.
    """
    pl = library("polars", "integrations.polars")
    check_naming(names, "")
    fixed: dict[str, Any] = {"keyring": keyring, "now": now, "permissions": permissions, **options}
    empty = process_route(NO_ROWS, **fixed)

    def answer(rows: Any) -> Any:
        results = process_route(rows, **fixed)
        return pl.Series(name, results.names() if names else results)

    schema = Schema(empty.names() if names else empty).polars()
    asked = pl.struct(pl.all()) if route is None else _expression(pl, route)
    return asked.map_batches(answer, pl.Struct(schema), is_elementwise=True).alias(name)


def _expression(pl: Any, given: Any) -> Any:
    return pl.col(given) if isinstance(given, str) else given
