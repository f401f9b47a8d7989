"""The tables of a tools server, and the file that writes each."""

from __future__ import annotations

__all__ = ["STEPS"]

# receiving.py writes source, user, device, delegation, revocation and material; tools.py writes tool; granting.py writes
# want and grant; outcomes.py writes outcome; access.py writes bearer,
# bearer_refusal and removed_tool.
# server_want: a command request, stored once per tool and user, under the last number that the tool gave it.
# server_material, server_want: `permissions` are those that its user must have.
# server_grant: `ended` is 1 if its user has lost a permission that the material needs.
STEPS = [
    """
    CREATE TABLE server_source (source TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL) STRICT;
    CREATE TABLE server_user (name TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, permissions INTEGER NOT NULL) STRICT;
    CREATE TABLE server_device (
        device TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, device_class INTEGER NOT NULL, mode INTEGER NOT NULL,
        security_level INTEGER NOT NULL, level_verified INTEGER NOT NULL, epoch INTEGER NOT NULL,
        installation INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE server_delegation (position INTEGER NOT NULL PRIMARY KEY, token BLOB NOT NULL) STRICT;
    CREATE TABLE server_revocation (
        one INTEGER NOT NULL PRIMARY KEY, version INTEGER NOT NULL, accepted_at INTEGER NOT NULL, token BLOB NOT NULL
    ) STRICT;
    CREATE TABLE server_material (
        serial INTEGER NOT NULL PRIMARY KEY, kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL,
        unit TEXT NOT NULL, device TEXT NOT NULL, token_type TEXT NOT NULL, actions INTEGER NOT NULL,
        permissions INTEGER NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, issued_at INTEGER NOT NULL,
        not_before INTEGER, expires_at INTEGER NOT NULL, session_seconds INTEGER, used INTEGER NOT NULL,
        token BLOB NOT NULL,
        UNIQUE (cti, kid)
    ) STRICT;
    CREATE INDEX server_material_device ON server_material (device, token_type);
    CREATE TABLE server_tool (
        tool TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, name TEXT NOT NULL, wanted INTEGER NOT NULL,
        granted INTEGER NOT NULL, reported INTEGER NOT NULL, report_day INTEGER NOT NULL, report_bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE server_want (
        tool TEXT NOT NULL, number INTEGER NOT NULL, user_name TEXT NOT NULL, unit TEXT NOT NULL, device TEXT NOT NULL,
        token_type TEXT NOT NULL, action_bit INTEGER NOT NULL, permissions INTEGER NOT NULL,
        PRIMARY KEY (tool, number), UNIQUE (tool, user_name, device, token_type, action_bit)
    ) STRICT;
    CREATE INDEX server_want_device ON server_want (device, token_type);
    CREATE TABLE server_grant (
        tool TEXT NOT NULL, serial INTEGER NOT NULL, user_name TEXT NOT NULL, material INTEGER NOT NULL,
        ended INTEGER NOT NULL, PRIMARY KEY (tool, serial)
    ) STRICT;
    CREATE INDEX server_grant_material ON server_grant (tool, material, user_name);
    CREATE TABLE server_outcome (
        serial INTEGER NOT NULL PRIMARY KEY, tool TEXT NOT NULL, number INTEGER NOT NULL, device TEXT NOT NULL,
        action INTEGER NOT NULL, kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL, state INTEGER NOT NULL,
        reason INTEGER NOT NULL, happened_at INTEGER NOT NULL, code INTEGER NOT NULL, answer BLOB NOT NULL,
        UNIQUE (tool, number)
    ) STRICT;
    CREATE TABLE server_bearer_refusal (
        kind TEXT NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE TABLE server_bearer (
        id TEXT NOT NULL, user_name TEXT NOT NULL, roles TEXT NOT NULL, tool TEXT NOT NULL, unit TEXT NOT NULL,
        issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (id, issued_at)
    ) STRICT;
    CREATE TABLE server_removed_tool (tool TEXT NOT NULL PRIMARY KEY, removed_at INTEGER NOT NULL) STRICT
    """
]
