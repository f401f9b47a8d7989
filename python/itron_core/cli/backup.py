"""Backup and restore of a party's folder (docs/restore.md)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal, adopt_log_entries
from itron_core.cli import folders
from itron_core.cli.failures import UsageError
from itron_core.cli.inputs import moment
from itron_core.cli.options import HOME, NOW
from itron_core.cli.output import counted, iso, say
from itron_core.errors import InputError
from itron_core.manager import restoring
from itron_core.manager.schema import STEPS as MANAGER_STEPS
from itron_core.stores import open_store
from itron_core.stores.backup import STORE, read_backup, write_backup
from itron_core.stores.incarnation import mark_restored
from itron_core.stores.private_files import make_folder
from itron_core.tools_server import restoring as server_restoring
from itron_core.tools_server.schema import STEPS as SERVER_STEPS

__all__ = ["backup", "restore"]

# The name of each party's journal.
PARTIES = {"manager": "manager", "server": "server", "field": "tool"}
TITLES = {"manager": "security manager", "server": "tools server", "field": "field tool"}
# The tables of those that take up what their log knows.
STEPS = {"manager": MANAGER_STEPS, "server": SERVER_STEPS}
BACKUP = typer.Argument(metavar="FILE", help="The backup, one file.")
LOG = "log"


def backup(home: Annotated[Path, HOME], file: Annotated[Path, BACKUP], now: Annotated[str | None, NOW] = None) -> None:
    """Back up a party to one file.

    The file has mode 600, and holds the store, the settings and the keys. The party may keep working meanwhile.
    A store in PostgreSQL is left out: back it up with pg_dump at the same time. The audit log is rebuilt from the store.
    """
    party, store = folders.party_of(home), folders.store_of(home)
    made = write_backup(home, file, party=party, store=None if "://" in store else Path(store), now=moment(now))
    say(f"Backed up the {TITLES[made.party]} in {home} to {file}: {counted(len(made.files), 'file')}.")
    if STORE not in made.files:
        say("Its store is in PostgreSQL and not in this file: back it up with pg_dump.")


def restore(
    home: Annotated[Path, HOME],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The backup. Without it, see below.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Restore a party from a backup.

    HOME must not exist, or hold nothing but the old log folder.

    The party continues from its audit log, and uses no number twice. Without FILE, the store of HOME was restored by
    other means, such as pg_restore, and is only marked as restored.
    """
    at = moment(now)
    if file is None:
        party = folders.party_of(home)
        _go_on(home, party, at)
        return
    log = home / LOG
    if home.exists() and (not home.is_dir() or [one for one in home.iterdir() if one != log]):
        raise UsageError(
            f"{home} is not empty",
            f"move everything except {LOG}/ elsewhere: the log shows what happened after the backup",
        )
    make_folder(home.parent)
    # Restored beside its final place, so that a failure can be tried again.
    new = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    try:
        new.chmod(0o700)
        made = read_backup(file, new)
        if made.party not in PARTIES or folders.party_of(new) != made.party:
            raise InputError(
                f"{file} is a damaged backup: it names the party {made.party!r:.40}, but its settings another"
            )
        if log.exists():
            shutil.copytree(log, new / LOG)
        if STORE in made.files:
            folders.keep_store_here(new)
            _go_on(new, made.party, at)
        if home.exists():
            home.replace(new.with_name(f"{new.name}-before"))
        new.replace(home)
        shutil.rmtree(new.with_name(f"{new.name}-before"), ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    say(f"Restored the {TITLES[made.party]} of {iso(made.made_at)} into {home}.")
    if STORE not in made.files:
        say(f"Its store is in PostgreSQL: run pg_restore, then itron-core restore {home} without a file.")


def _go_on(home: Path, party: str, now: int) -> None:
    """Mark the store as restored, adopt the log's later entries, and prepare the party to continue."""
    store, name = open_store(folders.store_of(home), create=False), PARTIES[party]
    try:
        if party in STEPS:
            store.migrate(party, STEPS[party])
        journal = Journal(store, name)  # without the log, which has more entries
        with store.write() as t:
            mark_restored(t)
            entries = adopt_log_entries(t, name, folders.log(home)) if (home / "log.pem").exists() else []
            if party == "manager":
                found, noted = restoring.go_on(t, entries, now=now)
            else:
                if party == "server":
                    server_restoring.go_on(t, entries)
                # The mark stays: by it a server believes reports of grants that it lost, and a field tool counts all uses
                # as spent until its next sync.
                found, noted = None, [audit_entry("restored", now, from_log=len(entries))]
            journal.write(t, noted)
    finally:
        store.close()
    say(f"{counted(len(entries), 'entry', 'entries')} since the backup adopted from the audit log.")
    if found is not None:
        _say_what_is_lost(found)


def _say_what_is_lost(found: restoring.Restored) -> None:
    if found.withdrawn:
        say(
            f"Withdrawn, as they may have been issued since: requests {', '.join(map(str, found.withdrawn))}. Request again."
        )
    if found.issued:
        say(f"Tokens issued since the backup: {found.issued:,}. They stay valid, but are not in this store.")
    say(
        f"New sequence numbers start after {found.sequence:,}. Check the devices, and repeat revocations that the log does not show."
    )
