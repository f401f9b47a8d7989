"""One suite for both stores: what a store promises to the parties."""

import os
import sqlite3
import subprocess
import sys
import threading
import traceback

import pytest

from itron_core import InputError, ItronCoreError, StoreError
from itron_core.stores import open_store
from itron_core.stores import sqlite as store_module
from itron_core.stores.incarnation import mark_restored
from itron_core.stores.postgres import translated
from itron_core.stores.protocol import rows_of

TABLE = "CREATE TABLE thing (number INTEGER NOT NULL PRIMARY KEY, name TEXT, data BLOB) STRICT"
SECOND = "ALTER TABLE thing ADD COLUMN size INTEGER"


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    store.migrate("things", [TABLE])
    yield store
    store.close()


def count(store):
    with store.read() as t:
        return t.rows("SELECT count(*) FROM thing")[0][0]


def test_rows_come_back_as_they_went(store):
    row = (2**62, "ä'?%s", bytes(range(256)))
    with store.write() as t:
        assert t.run("INSERT INTO thing VALUES (?, ?, ?)", row) == 1
        t.run_many("INSERT INTO thing VALUES (?, ?, ?)", [(1, None, None), (2, "", b"")])
    with store.read() as t:
        assert t.rows("SELECT * FROM thing ORDER BY number") == [(1, None, None), (2, "", b""), row]


def test_an_exception_undoes_all(store):
    def fail():
        with store.write() as t:
            t.run("INSERT INTO thing VALUES (1, 'a', NULL)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert count(store) == 0


@pytest.mark.parametrize("size", [0, 1, 499, 500, 501, 20_000])
def test_many_values_are_sought_in_some_queries(store, size):
    with store.write() as t:
        t.run_many("INSERT INTO thing VALUES (?, ?, NULL)", [(number, str(number % 2)) for number in range(1_000)])
        sql = "SELECT number FROM thing WHERE name = ? AND number IN ({values})"
        found = list(rows_of(t, sql, range(size), ("1",)))
    assert sorted(found) == [(number,) for number in range(1, min(size, 1_000), 2)]


def test_insert_new_says_which_were_new(store):
    sql = "INSERT INTO thing VALUES (?, ?, NULL) ON CONFLICT DO NOTHING"
    with store.write() as t:
        assert t.insert_new(sql, []) == []
        assert t.insert_new(sql, [(1, "a"), (2, "b"), (1, "c")]) == [True, True, False]
        assert t.insert_new(sql, [(2, "d"), (3, "e")]) == [False, True]


def test_a_transaction_within_another_is_refused(store):
    with store.write(), pytest.raises(InputError, match="nested transaction"), store.read():
        pass


def test_values_that_do_not_fit_a_column_are_refused(store):
    with pytest.raises(StoreError), store.write() as t:
        t.run("INSERT INTO thing VALUES ('word', 'a', NULL)")
    assert count(store) == 0


def test_a_reader_sees_one_moment(store, store_url):
    other = open_store(store_url)
    with store.read() as t:
        before = t.rows("SELECT count(*) FROM thing")
        with other.write() as u:
            u.run("INSERT INTO thing VALUES (1, 'a', NULL)")
        assert t.rows("SELECT count(*) FROM thing") == before
    assert count(store) == 1
    other.close()


def test_writers_wait_for_each_other(store, store_url):
    def add(which):
        for _ in range(25):
            with which.write() as t:
                ((last,),) = t.rows("SELECT coalesce(max(number), 0) FROM thing")
                t.run("INSERT INTO thing VALUES (?, NULL, NULL)", (last + 1,))

    stores = [open_store(store_url) for _ in range(3)]
    threads = [threading.Thread(target=add, args=(which,)) for which in [*stores, store, store]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(store) == 125
    for other in stores:
        other.close()


def test_steps_are_taken_once_and_in_order(store, store_url):
    store.migrate("things", [TABLE, SECOND])
    store.migrate("things", [TABLE, SECOND])
    with store.write() as t:
        t.run("INSERT INTO thing VALUES (1, 'a', NULL, 7)")
    again = open_store(store_url)
    with pytest.raises(StoreError, match="2 steps of 'things', but this version knows 1: use the newer"):
        again.migrate("things", [TABLE])
    again.close()


def test_a_step_that_fails_is_not_taken(store):
    with pytest.raises(StoreError):
        store.migrate("things", [TABLE, "ALTER TABLE thing ADD COLUMN size INTEGER; CREATE NONSENSE"])
    store.migrate("things", [TABLE, SECOND])


def test_a_forked_child_has_a_connection_of_its_own(store):
    with store.write() as t:
        t.run("INSERT INTO thing VALUES (1, 'a', NULL)")
    child = os.fork()
    if child == 0:
        with store.write() as t:
            t.run("INSERT INTO thing VALUES (2, 'b', NULL)")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert count(store) == 2


@pytest.mark.slow
def test_invalid_urls_raise():
    for url in ["", ":memory:", "mysql:///there", "sqlite://a.db", b"a.db", "postgresql://"]:
        with pytest.raises(InputError):
            open_store(url)


def test_a_file_may_have_any_name_after_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("./u:v@w.db", str(tmp_path / "a:b@c.db")):
        open_store(path).close()
    assert {one.name for one in tmp_path.glob("*.db")} == {"u:v@w.db", "a:b@c.db"}


def test_a_path_and_its_url_are_one_store(tmp_path):
    store = open_store(tmp_path / "a.db")
    store.migrate("things", [TABLE])
    with store.write() as t:
        t.run("INSERT INTO thing VALUES (1, 'a', NULL)")
    assert count(open_store(f"sqlite:///{tmp_path / 'a.db'}")) == 1


def test_commits_are_synced(tmp_path):
    store = open_store(tmp_path / "a.db")
    with store.read() as t:
        assert t.rows("PRAGMA synchronous") == [(2,)]
        assert t.rows("PRAGMA journal_mode") == [("wal",)]


def test_a_locked_file_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SECONDS_TO_WAIT_FOR_A_LOCK", 0.05)
    store = open_store(tmp_path / "a.db")
    store.migrate("things", [TABLE])
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"), store.write():
        pass
    holder.execute("COMMIT")
    with store.write() as t:
        t.run("INSERT INTO thing VALUES (1, 'a', NULL)")
    holder.close()


def test_a_file_that_is_not_a_database_raises(tmp_path):
    (tmp_path / "a.db").write_bytes(b"this is no database, however long it may be" * 50)
    with pytest.raises(StoreError, match="not a database"):
        open_store(tmp_path / "a.db")


def test_a_corrupted_page_is_an_error_and_no_answer(tmp_path):
    store = open_store(tmp_path / "a.db")
    store.migrate("things", [TABLE])
    with store.write() as t:
        t.run_many("INSERT INTO thing VALUES (?, 'name', ?)", [(n, bytes(1000)) for n in range(200)])
    store.close()
    data = bytearray((tmp_path / "a.db").read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    (tmp_path / "a.db").write_bytes(data)
    with pytest.raises(StoreError), open_store(tmp_path / "a.db").read() as t:
        t.rows("SELECT sum(length(data)) FROM thing")


def test_a_full_disk_keeps_the_old_file(tmp_path):
    store = open_store(tmp_path / "a.db")
    store.migrate("things", [TABLE])
    with store.write() as t:
        t.run("INSERT INTO thing VALUES (1, 'kept', NULL)")
    with store.read() as t:
        t.rows("PRAGMA max_page_count = 10")  # SQLite's own way to be full
    with pytest.raises(StoreError, match="full"), store.write() as t:
        t.run_many("INSERT INTO thing VALUES (?, NULL, ?)", [(n, bytes(4000)) for n in range(2, 100)])
    assert count(store) == 1


def test_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        open_store(tmp_path / "nowhere" / "a.db")


@pytest.mark.slow
def test_a_server_that_is_not_there_says_so():
    with pytest.raises(StoreError, match="PostgreSQL"):
        open_store("postgresql://user:hidden-word@127.0.0.1:1/none")


@pytest.mark.slow
def test_a_password_is_in_no_message():
    with pytest.raises(ItronCoreError) as caught:
        open_store("postgresql://user:hidden-word@127.0.0.1:1/none")
    assert "hidden-word" not in str(caught.value)


def test_a_lost_connection_raises_and_the_next_call_works(postgres_url):
    store = open_store(postgres_url)
    store.migrate("things", [TABLE])
    with pytest.raises(StoreError), store.write() as t:
        t.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert count(store) == 0
    store.close()


def test_one_spelling_of_sql_for_both():
    assert translated("SELECT ?, '%'") == "SELECT %s, '%%'"
    assert (
        translated("CREATE TABLE a (b INTEGER, c BLOB) STRICT, WITHOUT ROWID") == "CREATE TABLE a (b BIGINT, c BYTEA)"
    )


def test_postgres_is_imported_only_for_its_urls():
    code = "import sys, itron_core.stores; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("row", [(2**63, "a", b""), (1, "\ud800", b"")])
def test_values_that_no_column_holds_raise_and_undo_everything(store, row):
    def put():
        with store.write() as t:
            t.run("INSERT INTO thing VALUES (7, 'a', NULL)")
            t.run("INSERT INTO thing VALUES (?, ?, ?)", row)

    with pytest.raises(ItronCoreError):
        put()
    assert count(store) == 0


def refused(url):
    with pytest.raises(ItronCoreError) as caught:
        open_store(url)
    return caught


SECRETS = [
    "postgresql+psycopg://u:hidden-word@127.0.0.1:1/db",
    "mysql://u:hidden-word@127.0.0.1:1/db",
    "jdbc:postgresql://127.0.0.1:1/db?password=hidden-word",
    "host=127.0.0.1 port=1 password=hidden-word",
    "postgresql:u:hidden-word@127.0.0.1:1/db",
    " postgresql://u:hidden-word@127.0.0.1:1/db ",
    "postgresql://u:hidden-word%zz@127.0.0.1:1/db",
    "postgresql://u:hidden-word%@127.0.0.1:1/db",
    "postgresql://u:hidden-word x@127.0.0.1:1/db",
    "postgresql://u:[hidden-word@127.0.0.1:1/db",
    "postgresql://u:p@hidden-word@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?nonsense=hidden-word",
    "sqlite:///a.db?password=hidden-word",
    "file:a.db?password=hidden-word",
    "postgres//u:hidden-word@127.0.0.1:1/db",
    "//u:hidden-word@127.0.0.1:1/db",
    "u:hidden-word@127.0.0.1:1/db",
    "u:hidden word@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_connection_string_that_is_not_ours_is_a_wrong_call_and_shows_nothing(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caught = refused(url)
    assert caught.type is InputError
    assert "hidden-word" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert "hidden" not in str(caught.value.__context__)
    assert not list(tmp_path.iterdir()), "a file of that name was made"


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["POSTGRESQL://u:hidden-word@127.0.0.1:1/db", "postgres://u:hidden/word@127.0.0.1:1/db"]
)
def test_a_server_out_of_reach_shows_no_part_of_its_url(url):
    caught = refused(url)
    error = caught.value
    while error is not None:
        assert "hidden" not in "".join(map(str, [error, *error.args]))
        error = error.__cause__ or error.__context__
    assert caught.type is StoreError


def test_a_store_keeps_its_incarnation_and_no_two_have_the_same(store, store_url, tmp_path):
    again = open_store(store_url)
    assert again.incarnation == store.incarnation
    assert len(bytes.fromhex(store.incarnation)) == 16
    assert open_store(tmp_path / "other.db").incarnation != store.incarnation
    with store.write() as t:
        mark_restored(t)
    assert store.incarnation == again.incarnation
    again.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_store_is_readable_by_its_owner_alone_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        store = open_store(tmp_path / "a.db")
        store.migrate("things", [TABLE])
        store.copy_to(str(tmp_path / "copy.db"))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["a.db", "a.db-wal", "a.db-shm", "copy.db"], 0o600)


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("put_back", [False, True])
def test_a_file_that_was_removed_or_replaced_takes_nothing_any_more(tmp_path, suffix, put_back):
    store, place = open_store(tmp_path / "a.db"), tmp_path / f"a.db{suffix}"
    store.migrate("things", [TABLE])
    data = place.read_bytes()
    place.unlink()
    if put_back:
        place.write_bytes(data)
    for which in [store.write, store.read]:
        with pytest.raises(StoreError, match="replaced" if put_back else "was removed"), which():
            pass
    assert place.exists() == put_back, "an empty store was made in its place"


def test_a_commit_into_a_removed_file_is_not_acknowledged(tmp_path):
    store = open_store(tmp_path / "a.db")
    store.migrate("things", [TABLE])

    def put():
        with store.write() as t:
            t.run("INSERT INTO thing VALUES (1, 'a', NULL)")
            (tmp_path / "a.db").unlink()

    with pytest.raises(StoreError, match="was removed"):
        put()


def test_an_empty_or_missing_file_raises_where_a_store_must_exist(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        open_store(tmp_path / "a.db", create=False)
    (tmp_path / "a.db").touch()
    with pytest.raises(StoreError, match="is empty"):
        open_store(tmp_path / "a.db", create=False)


def test_a_child_that_is_forked_while_a_thread_writes_does_not_wait_for_ever(store):
    inside, done = threading.Event(), threading.Event()

    def hold():
        with store.write():
            inside.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        with store.read() as t:
            t.rows("SELECT count(*) FROM thing")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    thread.join()
    assert count(store) == 0


@pytest.fixture
def defaults_of_others(postgres_url):
    """Give a database whose transactions are, unless they say otherwise, serializable and read-only."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        for setting in ["default_transaction_isolation = serializable", "default_transaction_read_only = on"]:
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
    return postgres_url


def test_writers_wait_for_each_other_whatever_the_default_isolation_is(defaults_of_others):
    store = open_store(defaults_of_others)
    store.migrate("things", [TABLE])
    test_writers_wait_for_each_other(store, defaults_of_others)
    store.close()


def test_a_pooler_that_changes_connections_makes_no_difference(pooled_url):
    store, others, backends = open_store(pooled_url), [open_store(pooled_url) for _ in range(3)], set()
    store.migrate("things", [TABLE])
    with store.read(), others[0].read(), others[1].read(), others[2].read():
        pass  # four at once: from now on the pooler has four connections, and takes them in turn
    sql = "INSERT INTO thing VALUES (?, ?, NULL) ON CONFLICT DO NOTHING"
    for number in range(30):
        with store.write() as t:
            backends |= set(t.rows("SELECT pg_backend_pid()"))
            assert t.insert_new(sql, [(number, "a")]) == [True]
        with store.read() as t:
            backends |= set(t.rows("SELECT pg_backend_pid()"))
            assert t.rows("SELECT name FROM thing WHERE number = ?", (number,)) == [("a",)]
    assert len(backends) == 4
    for one in [store, *others]:
        one.close()


def test_a_connection_that_was_cut_between_calls_is_made_again_unseen(postgres_server, postgres_url):
    store, (_, others) = open_store(postgres_url), postgres_server
    store.migrate("things", [TABLE])
    for number in range(5):
        with store.read() as t:
            ((backend,),) = t.rows("SELECT pg_backend_pid()")
        others.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        with store.write() as t:
            t.run("INSERT INTO thing VALUES (?, 'a', NULL)", (number,))
    assert count(store) == 5
    store.close()


def test_a_database_of_bytes_without_encoding_is_refused(postgres_server, postgres_url):
    server, connection = postgres_server
    connection.execute("CREATE DATABASE bytes_only ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(StoreError, match=r"SQL_ASCII.*UTF8"):
        open_store(server.get_uri(database="bytes_only"))
