"""A row's answer depends on nothing but the row, the keyring, the snapshot, `now` and the options of the call."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import (
    DAY,
    DEVICE,
    ISSUER,
    KEYRING,
    NOW,
    SECOND_ISSUER,
    STRANGER,
    code_of,
    entry,
    public,
    rows_of,
    single_code,
    token,
)
from itron_core import (
    Keyring,
    Revocations,
    process_batches,
    process_route,
    verify_signatures,
    verify_stream,
    verify_tokens,
)
from itron_core.testing import make_route
from reference.build import Signer
from reference.signatures import ED25519, ESP256

pytestmark = [pytest.mark.kernels, pytest.mark.slow]

SIZES = [0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 2047, 2048, 2049]
THREADS = [1, 2, 5]
# Keys of both algorithms, one of them with ceilings: rows of one batch take every way through the code.
SIGNERS = [ISSUER, SECOND_ISSUER, *(Signer((ED25519, ESP256)[n % 2], f"more {n}") for n in range(6))]
RING = Keyring([entry(signer, actions=0b11 if n == 3 else None) for n, signer in enumerate(SIGNERS)])
SNAPSHOT = Revocations(issuers=[SIGNERS[4].kid], devices={"ert:100000005": (50, 0, 0)}, version=1, expires_at=NOW + DAY)


@cache
def pool():
    """Return 400 different tokens, each with what is asked of it: (token, audience, epoch)."""
    rng = random.Random(7)
    made = []
    for number in range(400):
        device = f"ert:{100_000_001 + number % 9}"
        signer = STRANGER if number % 23 == 0 else SIGNERS[rng.randrange(len(SIGNERS))]
        issued = NOW - (3 * DAY if number % 19 == 0 else 60)
        one = token(
            signer=signer, device=device, sequence=number, issued_at=issued, actions=tuple(range(1 + number % 5))
        )
        at = rng.randrange(len(one))
        damage = {
            1: one[:at] + bytes([one[at] ^ 1 << rng.randrange(8)]) + one[at + 1 :],
            2: one[:at],
            3: None,
            4: b"",
            5: one[:-64] + rng.randbytes(64),
            6: one + bytes(6_144),
            7: one[:-32] + bytes(32),
        }
        made.append((damage.get(number % 12, one), rng.choice([None, device, DEVICE]), rng.choice([None, 3, 4, 5])))
    return made


OPTIONS = {"now": NOW, "revocations": SNAPSHOT}


def ask(rows, threads=None, keyring=RING):
    """Return every column of every row."""
    tokens, audiences, epochs = zip(*rows, strict=True) if rows else ((), (), ())
    columns = (pa.array(tokens, pa.binary()), pa.array(audiences, pa.string()), pa.array(epochs, pa.int64()))
    return rows_of(
        verify_tokens(columns[0], keyring, audience=columns[1], epoch=columns[2], threads=threads, **OPTIONS)
    )


@cache
def alone():
    """Return the answer of each row of the pool in a call of its own."""
    return [ask([row])[0] for row in pool()]


def test_the_pool_has_many_answers():
    """Otherwise the comparisons below would say little."""
    codes = {answer[0] for answer in alone()}
    assert {0, 1, 100, 230, 302, 410, 502, 601, 602, 603, 700} <= codes
    assert sum(answer[0] == 0 for answer in alone()) > 20


def test_one_by_one_is_the_single_call():
    for row, answer in zip(pool(), alone(), strict=True):
        one, audience, epoch = row
        assert single_code(one, RING, audience=audience, epoch=epoch, revocations=SNAPSHOT) == answer[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [*THREADS, None])
def test_a_token_s_answer_does_not_depend_on_the_batch(size, threads):
    """Rows drawn with repetition, in several orders: each has the answer that it has alone."""
    rng = random.Random(size)
    for _ in range(3):
        index = [rng.randrange(len(pool())) for _ in range(size)]
        assert ask([pool()[row] for row in index], threads) == [alone()[row] for row in index]


@given(st.lists(st.integers(0, 399), max_size=200), st.sampled_from(THREADS))
def test_any_choice_of_rows_in_any_order(index, threads):
    assert ask([pool()[row] for row in index], threads) == [alone()[row] for row in index]


@given(st.lists(st.integers(0, 399), max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_split_into_batches(index, cuts):
    """A stream of any batches gives the rows of one call; so does one column of any chunks."""
    rows = [pool()[row][0] for row in index]
    cuts = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    whole = rows_of(verify_tokens(pa.array(rows, pa.binary()), RING, **OPTIONS))
    batches = [pa.array(part, pa.binary()) for part in parts]
    streamed = [row for result in verify_stream(batches, RING, **OPTIONS) for row in rows_of(result)]
    assert streamed == whole
    assert rows_of(verify_tokens(pa.chunked_array(batches), RING, **OPTIONS)) == whole
    assert whole == [row for part in parts for row in rows_of(verify_tokens(part, RING, **OPTIONS))]


@pytest.mark.parametrize("size", SIZES)
def test_one_bad_token_among_good_ones_is_one_bad_row(size):
    """At every place of a batch, of one key and of two: exactly that row is refused."""
    tokens = [token(signer=SIGNERS[row % 2], sequence=row) for row in range(size)]
    places = range(size) if size <= 65 else random.Random(size).sample(range(size), 12)
    for place in places:
        forged = list(tokens)
        forged[place] = forged[place][:-1] + bytes([forged[place][-1] ^ 1])
        codes = verify_tokens(forged, KEYRING, now=NOW)["code"].to_pylist()
        assert [row for row, code in enumerate(codes) if code] == [place]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 5, 2, 7, 4, 1, 6]])
def test_the_order_of_the_keyring_changes_the_index_alone(order):
    keyring = Keyring([RING.entries[place] for place in order])
    index = list(range(0, 400, 3))
    turned = ask([pool()[row] for row in index], keyring=keyring)
    for answer, row in zip(turned, index, strict=True):
        code, key, *rest = alone()[row]
        assert answer == (code, None if key is None else order.index(key), *rest)


def test_a_hundred_thousand_rows_on_any_number_of_threads():
    rng = random.Random(100_000)
    index = [rng.randrange(400) for _ in range(100_000)]
    tokens = pa.array([pool()[row][0] for row in index], pa.binary())
    audiences = pa.array([pool()[row][1] for row in index], pa.string())
    epochs = pa.array([pool()[row][2] for row in index], pa.int64())
    wanted = [alone()[row][0] for row in index]
    for threads in (1, 2, 16):
        results = verify_tokens(tokens, RING, audience=audiences, epoch=epochs, threads=threads, **OPTIONS)
        assert results["code"].to_pylist() == wanted


# Bare signatures.


@cache
def signatures():
    rng = random.Random(3)
    made = []
    for number in range(300):
        signer = rng.randrange(len(SIGNERS))
        message = rng.randbytes(rng.choice([0, 1, 55, 56, 63, 64, 111, 112, 127, 128, 300]))
        signature = SIGNERS[signer].sign(message)
        damage = {1: signature[:-1] + b"\x00", 2: signature[:63], 3: None, 4: bytes(64), 5: b"\xff" * 64}
        made.append((signer, message, damage.get(number % 10, signature)))
    return made


def ask_signatures(rows, threads=None):
    if not rows:
        return []
    index, messages, signed = zip(*rows, strict=True)
    keys = [public(signer) for signer in SIGNERS]
    results = verify_signatures(
        keys, list(messages), pa.array(signed, pa.binary()), key_index=list(index), threads=threads
    )
    return results["code"].to_pylist()


@cache
def signatures_alone():
    return [ask_signatures([row])[0] for row in signatures()]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", THREADS)
def test_a_signature_s_answer_does_not_depend_on_the_batch(size, threads):
    rng = random.Random(size * 10 + threads)
    index = [rng.randrange(300) for _ in range(size)]
    assert ask_signatures([signatures()[row] for row in index], threads) == [signatures_alone()[row] for row in index]
    assert {0, 1, 300, 301, 302} <= set(signatures_alone())


@pytest.mark.parametrize("signer", [ISSUER, SECOND_ISSUER], ids=[ED25519, ESP256])
@pytest.mark.parametrize("size", SIZES)
def test_signatures_of_one_key_too(signer, size):
    """One key for all rows may be verified by another way than many."""
    messages = [b"message %d" % (row % 50) for row in range(size)]
    signed = {message: signer.sign(message) for message in set(messages)}
    bad = set(range(5, size, 17))
    given_ = [bytes(64) if row in bad else signed[message] for row, message in enumerate(messages)]
    for threads in THREADS:
        codes = verify_signatures(public(signer), messages, given_, threads=threads)["code"].to_pylist()
        assert {row for row, code in enumerate(codes) if code} == bad


# Keys that were used never, a little, much, and very much: each may be verified by another way, side by side in one batch.
USES = (0, 40, 2_500, 25_000)


@cache
def worn(algorithm):
    """Return keys of different use, and 64 genuine signatures of each."""
    signers = [Signer(algorithm, f"used {uses} times") for uses in USES]
    signed = [[signer.sign(b"message %d" % row) for row in range(64)] for signer in signers]
    for signer, signatures_, uses in zip(signers, signed, USES, strict=True):
        rows = [row % 64 for row in range(uses)]
        messages = [b"message %d" % row for row in rows]
        codes = verify_signatures(public(signer), messages, [signatures_[row] for row in rows], threads=1)["code"]
        assert set(codes.to_pylist()) <= {0}
    return [public(signer) for signer in signers], signed


def ask_worn(algorithm, rows):
    """Verify rows of (key, message, whose signature, of which message); a row is good when it is its own."""
    keys, signed = worn(algorithm)
    results = verify_signatures(
        keys,
        [b"message %d" % message for _, message, _, _ in rows],
        [signed[whose][which] for _, _, whose, which in rows],
        key_index=pa.array([key for key, *_ in rows], pa.int64()),
        threads=1,
    )
    wanted = [(key, message) == (whose, which) for key, message, whose, which in rows]
    return [code == 0 for code in results["code"].to_pylist()], wanted


@pytest.mark.parametrize("algorithm", [ED25519, ESP256])
@pytest.mark.parametrize("first,second", [(a, b) for a in range(4) for b in range(4) if a != b])
def test_a_copied_signature_passes_for_no_other_row(algorithm, first, second):
    """Genuine rows of one key, then rows of another with copies of their signatures, in every number up to 33."""
    for count in range(1, 34):
        genuine = [(first, row, first, row) for row in range(count)]
        copied = [(second, 32 + row, first, row) for row in range(8)]
        own = [(second, row, second, row) for row in range(7)]
        for rows in (genuine + copied, copied + genuine, genuine + own, own + genuine, genuine + own + copied):
            answers, wanted = ask_worn(algorithm, rows)
            assert answers == wanted


@pytest.mark.parametrize("algorithm", [ED25519, ESP256])
@pytest.mark.parametrize("seed", range(40))
def test_any_runs_of_keys_with_own_and_copied_signatures(algorithm, seed):
    """Runs of rows of one key: each row with its own signature, or with that of a row before it, of whatever key."""
    rng = random.Random(f"{algorithm} {seed}")
    for _ in range(10):
        rows = []
        for _ in range(rng.randrange(1, 8)):
            key, share = rng.randrange(4), rng.choice([0, 0, 0.2, 1])
            for message in rng.sample(range(64), rng.choice([1, 2, 3, 5, 7, 8, 9, 12, 16, 17, 31, 33, 50, 64])):
                copied = rows and rng.random() < share
                whose = rng.choice(rows)[2:] if copied else (key, message)
                rows.append((key, message, *whose))
        answers, wanted = ask_worn(algorithm, rows)
        assert answers == wanted


# Routes.


@cache
def route():
    return make_route(700, now=NOW, seed=3)


def decide_rows(index, threads=None):
    table = route().table.take(pa.array(index, pa.int64()))
    return rows_of(process_route(table, route().keyring, now=NOW, permissions=route().permissions, threads=threads))


@cache
def rows_alone():
    return [decide_rows([row])[0] for row in range(700)]


def test_the_route_has_many_answers():
    assert len({answer[1] for answer in rows_alone()}) > 8
    assert {answer[0] for answer in rows_alone()} == {0, 1, 2, 3}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [*THREADS, None])
def test_a_row_s_decision_does_not_depend_on_the_route(size, threads):
    rng = random.Random(size)
    index = [rng.randrange(700) for _ in range(size)]
    assert decide_rows(index, threads) == [rows_alone()[row] for row in index]


@given(st.lists(st.integers(0, 699), max_size=120), st.lists(st.integers(0, 120), max_size=4))
@settings(max_examples=50)
def test_any_split_of_a_route(index, cuts):
    table = route().table.take(pa.array(index, pa.int64()))
    cuts = sorted({0, len(index), *(cut % (len(index) + 1) for cut in cuts)})
    parts = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(index)], strict=True)]
    ask_route = {"now": NOW, "permissions": route().permissions}
    batched = [row for result in process_batches(parts, route().keyring, **ask_route) for row in rows_of(result)]
    assert batched == [rows_alone()[row] for row in index]
    chunked = pa.concat_tables(parts)
    assert rows_of(process_route(chunked, route().keyring, **ask_route)) == batched


def test_an_absent_column_is_a_column_of_nulls():
    table = route().table
    for name in set(table.column_names) - {"device", "device_class", "security_level", "action"}:
        without = table.drop_columns([name])
        place = table.column_names.index(name)
        nulls = table.set_column(place, name, pa.nulls(len(table), table.schema.field(name).type))
        ask_route = {"now": NOW, "permissions": 31}
        first, second = (process_route(each, route().keyring, **ask_route) for each in (without, nulls))
        assert rows_of(first) == rows_of(second)


# Processor, threads, processes.


def test_the_portable_kernels_give_the_same_answers():
    """The same pool in a process whose kernels are forced to be the portable ones."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_independence as t, itron_core; "
        "assert set(itron_core.cpu_features()['kernels'].values()) == {'portable'}; "
        "print(t.ask(t.pool()) == t.alone(), [a[0] for a in t.alone()], t.ask_signatures(t.signatures()))"
    )
    environment = os.environ | {"ITRON_CORE_KERNELS": "portable"}
    here = os.path.dirname(__file__)  # noqa: PTH120  # a path for another process
    done = subprocess.run(
        [sys.executable, "-c", script, here], env=environment, capture_output=True, text=True, check=True
    )
    codes = [answer[0] for answer in alone()]
    assert done.stdout.strip() == f"True {codes} {signatures_alone()}"


def test_calls_from_many_python_threads_get_the_same_answers():
    """16 threads at once on one keyring, each with rows of its own, with one worker and with two."""
    barrier = threading.Barrier(16)

    def work(number):
        rng = random.Random(number)
        barrier.wait()
        for turn in range(5):
            index = [rng.randrange(400) for _ in range(300)]
            assert ask([pool()[row] for row in index], 1 + turn % 2) == [alone()[row] for row in index]
        return number

    alone()
    with ThreadPoolExecutor(16) as workers:
        assert list(workers.map(work, range(16))) == list(range(16))


def test_a_keyring_used_first_by_many_threads_at_once():
    """What a keyring makes at its first use is made once, or alike."""
    for turn in range(5):
        signers = [Signer((ED25519, ESP256)[n % 2], f"fresh {turn} {n}") for n in range(8)]
        keyring = Keyring([entry(signer) for signer in signers])
        tokens = [token(signer=signers[row % 8], sequence=row) for row in range(400)]
        barrier = threading.Barrier(8)

        def work(_, keyring=keyring, tokens=tokens, barrier=barrier):
            barrier.wait()
            return verify_tokens(tokens, keyring, now=NOW, threads=2)["code"].to_pylist()

        with ThreadPoolExecutor(8) as workers:
            assert all(codes == [0] * 400 for codes in workers.map(work, range(8)))


def in_child(index):
    return ask([pool()[row] for row in index], 2), decide_rows(index[:200], 2)


def test_a_forked_child_gets_answers_after_threads_were_used():
    """Threads of the parent do not live on in a child; it must not wait for them."""
    index = [row % 400 for row in range(2_049)]
    wanted = in_child(index)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as children:
        given_ = [children.apply_async(in_child, (index,)) for _ in range(4)]
        for answer in given_:
            assert answer.get(timeout=120) == wanted
    # And the parent's own still work.
    assert in_child(index) == wanted


def first_use(number):
    """Verify with keys that no process has used yet."""
    signers = [Signer((ED25519, ESP256)[n % 2], f"first use {number} {n}") for n in range(4)]
    keyring = Keyring([entry(signer) for signer in signers])
    tokens = [token(signer=signers[row % 4], sequence=row) for row in range(120)]
    return verify_tokens(tokens, keyring, now=NOW, threads=2)["code"].to_pylist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_children_forked_in_the_middle_of_calls_get_answers():
    """Other threads of the parent are verifying, and building tables, at the moment of each fork."""
    over, context = threading.Event(), multiprocessing.get_context("fork")

    def work(number):
        while not over.is_set():
            assert set(first_use(number)) == {0}
            number += 10

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        for turn in range(25):
            reader, writer = context.Pipe(duplex=False)
            child = context.Process(target=lambda writer=writer, turn=turn: writer.send(first_use(f"child {turn}")))
            child.start()
            assert reader.poll(120), "the child waits for a lock that nobody holds"
            assert reader.recv() == [0] * 120
            child.join()
    finally:
        over.set()
        for worker in workers:
            worker.join()


def test_more_keys_than_their_tables_have_room_for():
    """Keys come, are used, are forgotten and come back: the memory stays within its limit, each answer is the row's own."""
    rng = random.Random(11)
    for algorithm in (ED25519, ESP256):
        signers = [Signer(algorithm, f"one of many {n}") for n in range(700)]
        keys = [public(signer) for signer in signers]
        signed = [[signer.sign(b"%d" % n) for n in range(3)] for signer in signers]
        keyring = Keyring(keys)
        for turn in range(20):
            index = [rng.randrange(700) for _ in range(2_000)] + [rng.randrange(10) for _ in range(4_000)]
            rng.shuffle(index)
            rows = [(key, rng.randrange(3), rng.random() < 0.9) for key in index]
            results = verify_signatures(
                keys,
                [b"%d" % message for _, message, _ in rows],
                [signed[key][message if good else message - 1] for key, message, good in rows],
                key_index=index,
                threads=1 + turn % 3,
            )
            assert [code == 0 for code in results["code"].to_pylist()] == [good for *_, good in rows]
        assert 0 < keyring.table_bytes <= 256 << 20


def test_a_bare_fork_gets_answers():
    index = [row % 400 for row in range(2_049)]
    wanted = [answer[0] for answer in ask([pool()[row] for row in index], 5)]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover
        try:
            codes = [answer[0] for answer in ask([pool()[row] for row in index], 5)]
            os.write(writer, b"same" if codes == wanted else b"other")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        assert said.read() == b"same"
    os.waitpid(child, 0)


def test_the_lock_is_released_while_a_batch_is_verified():
    """Another thread runs on while one large call is under way."""
    tokens = pa.array([token(sequence=n) for n in range(400)] * 500, pa.binary())
    turns, over = [0], threading.Event()

    def count():
        while not over.is_set():
            turns[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = turns[0]
    verify_tokens(tokens, KEYRING, now=NOW, threads=1)
    during = turns[0] - before
    over.set()
    counter.join()
    assert during > 0


def test_repeated_calls_keep_no_memory():
    """After a warm-up, 100 calls more of every kind: the process has grown by a small part of their results."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
import test_independence as t, itron_core as ic

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

rows = [t.pool()[row % 400] for row in range(20_000)]
tokens = t.pa.array([row[0] for row in rows], t.pa.binary())
master = ic.MasterKey.generate()
ids = t.pa.array([row.to_bytes(8, "big") for row in range(20_000)], t.pa.binary(8))
times = t.pa.array(range(20_000), t.pa.int64())
route = t.route().table

def once():
    t.pa.record_batch(ic.verify_tokens(tokens, t.RING, now=t.NOW, threads=2))
    t.pa.record_batch(ic.process_route(route, t.route().keyring, now=t.NOW, permissions=31))
    ic.derive_keys(master, ids, utility="U").to_buffer()
    ic.check_windows(times, times, now=1_795_000_000)
    t.pa.record_batch(ic.check_sessions(times, times, now=1_795_000_000))
    ic.Keyring(t.RING.entries).with_delegations([], now=1_795_000_000)
    try:
        ic.verify_token(b"", t.RING, now=1_795_000_000)
    except ic.TokenRefused:
        pass

for _ in range(40):
    once()
before = resident()
for _ in range(100):
    once()
print(resident() - before)
"""
    here = os.path.dirname(__file__)  # noqa: PTH120  # a path for another process
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True, check=True)
    # One result of 20,000 tokens alone is about 1.5 MB: 100 that stayed would be 150 MB. A few keys still get larger tables.
    assert int(done.stdout) < 64 << 20


def test_the_same_call_twice_is_the_same_answer():
    assert ask(pool()) == ask(pool()) == alone()
    assert code_of(token()) == code_of(token()) == 0
