"""The single-use ledger: records the first use of each token and the device's answer.

A token's identity is (key id, CWT id), never its signature: r, n-s is a second valid signature (docs/format.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.enums import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Ledger", "Use", "Verdict"]

STEPS = [
    """
    CREATE TABLE ledger_use (
        kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL, answer BLOB NOT NULL, used_at INTEGER NOT NULL,
        PRIMARY KEY (kid, cti)
    ) STRICT, WITHOUT ROWID
    """
]
INSERT = "INSERT INTO ledger_use (kid, cti, content, answer, used_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
FIRST = "SELECT content, answer FROM ledger_use WHERE kid = ? AND cti = ?"


class Use(NamedTuple):
    """One use of a token: its key id (8 bytes) and CWT id (16), the SHA-256 of the signed content, the device's answer."""

    kid: bytes
    cti: bytes
    content: bytes
    answer: bytes
    used_at: int


class Verdict(NamedTuple):
    """OK for the first use, REPLAY_IDENTICAL for its repeat, REPLAY_CONFLICT for different content under the same identity.

    `answer` is always that of the first use.
    """

    code: Code
    answer: bytes


class Ledger:
    """Decides uses in batches; a batch is stored on disk as a whole or not at all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.migrate("ledger", STEPS)

    def decide(self, uses: Sequence[Use], transaction: Transaction | None = None) -> list[Verdict]:
        """Return one verdict per use, in the same order; uses of one identity within a batch count in that order.

        With a `transaction` of the same store, the uses become part of it. Raises StoreError, and then records nothing.
        """
        if transaction is not None:
            return _decide(transaction, uses)
        if not uses:
            return []
        with self._store.write() as t:
            return _decide(t, uses)

    def __len__(self) -> int:
        with self._store.read() as t:
            ((count,),) = t.rows("SELECT count(*) FROM ledger_use")
            return int(count)


def _decide(t: Transaction, uses: Sequence[Use]) -> list[Verdict]:
    is_new = t.insert_new(INSERT, uses)
    return [Verdict(Code.OK, use.answer) if new else _repeated(t, use) for use, new in zip(uses, is_new, strict=True)]


def _repeated(t: Transaction, use: Use) -> Verdict:
    ((content, answer),) = t.rows(FIRST, (use.kid, use.cti))
    same = bytes(content) == use.content
    return Verdict(Code.REPLAY_IDENTICAL if same else Code.REPLAY_CONFLICT, bytes(answer))
