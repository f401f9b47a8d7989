"""The single-use ledger on both stores: three answers, in any order of batches, races and kills."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from itron_core import Code
from itron_core.stores import open_store
from itron_core.tools_server.ledger import Ledger, Use
from kills import KILLS, PROGRAMS, Warm

RACERS = 4
RACED_IDS = int(os.environ.get("ITRON_CORE_RACED_IDS", "5000"))


def use(number, *, content=b"c", answer=b"", kid=b"k" * 8):
    return Use(kid, number.to_bytes(16), hashlib.sha256(content).digest(), answer, 1)


@pytest.fixture
def ledger(store_url):
    store = open_store(store_url)
    yield Ledger(store)
    store.close()


def test_first_use_its_repeat_and_a_conflict(ledger):
    assert ledger.decide([use(1, answer=b"first")]) == [(Code.OK, b"first")]
    assert ledger.decide([use(1, answer=b"again")]) == [(Code.REPLAY_IDENTICAL, b"first")]
    assert ledger.decide([use(1, content=b"other", answer=b"x")]) == [(Code.REPLAY_CONFLICT, b"first")]
    assert len(ledger) == 1


def test_identity_is_key_and_id_together(ledger):
    assert [v.code for v in ledger.decide([use(1), use(1, kid=b"l" * 8), use(2)])] == [Code.OK] * 3


def test_one_batch_meets_itself_in_order(ledger):
    verdicts = ledger.decide([use(7, answer=b"a"), use(7, answer=b"b"), use(7, content=b"z")])
    assert verdicts == [(Code.OK, b"a"), (Code.REPLAY_IDENTICAL, b"a"), (Code.REPLAY_CONFLICT, b"a")]


def test_an_empty_batch_is_skipped(ledger):
    assert ledger.decide([]) == []


def test_a_transaction_that_fails_used_nothing(store_url):
    store = open_store(store_url)
    ledger = Ledger(store)

    def fail():
        with store.write() as t:
            assert ledger.decide([use(3)], t)[0].code == Code.OK
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ledger.decide([use(3)])[0].code == Code.OK
    store.close()


@pytest.mark.parametrize("split", [1, 3, 50])
def test_splits_give_the_verdicts_of_a_plain_dictionary(ledger, split):
    rng = random.Random(split)
    uses = [use(rng.randrange(40), content=bytes([rng.randrange(2)]), answer=bytes([n])) for n in range(200)]
    first, wanted = {}, []
    for u in uses:
        known = first.setdefault(u.cti, u)
        code = Code.OK if known is u else Code.REPLAY_IDENTICAL if known.content == u.content else Code.REPLAY_CONFLICT
        wanted.append((code, known.answer))
    found = [v for start in range(0, len(uses), split) for v in ledger.decide(uses[start : start + split])]
    assert found == wanted


@pytest.mark.slow
def test_processes_that_race_win_each_id_once(store_url):
    open_store(store_url).close()
    racers = [
        subprocess.Popen(
            [sys.executable, str(PROGRAMS / "ledger_racer.py"), store_url, str(seed), str(RACED_IDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [list(map(int, racer.communicate()[0].split())) for racer in racers]
    assert all(racer.returncode == 0 for racer in racers)
    assert Counter(n for part in won for n in part) == Counter(range(RACED_IDS))
    assert sum(map(bool, won)) > 1, "one process won all: nothing was raced"


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_acknowledged_and_uses_nothing_twice(store_url):
    rng = random.Random(11)
    store = open_store(store_url)
    ledger = Ledger(store)
    start = 0
    with Warm("ledger_user") as warm:
        for _ in range(KILLS):
            death = warm.run(store_url, start, delay=rng.random() * 0.02)
            assert death.was_killed
            acknowledged = [list(map(int, line.split())) for line in death.lines]
            assert all(codes == [Code.OK] for _, *codes in acknowledged)
            whole = [number for number, *_ in acknowledged]
            assert whole == list(range(start, start + len(whole)))
            for verdict, number in zip(ledger.decide([use_of(number) for number in whole]), whole, strict=True):
                assert verdict == (Code.REPLAY_IDENTICAL, b"%d" % number)
            # The batch that was cut off is there as a whole or not at all.
            following = start + len(whole)
            codes = {v.code for v in ledger.decide([use_of(following, place) for place in range(10)])}
            assert codes in ({Code.OK}, {Code.REPLAY_IDENTICAL})
            start = following + 1
    assert start > KILLS
    store.close()


def use_of(number, place=0):
    return Use(b"k" * 8, (number * 10 + place).to_bytes(16), b"c" * 32, b"%d" % number, 1)
