"""The tables of a field tool."""

from __future__ import annotations

__all__ = ["STEPS"]

# tool_state: one row, the fields of `State`.
# tool_want: a command request; `number`, `asked_by` and `asked_with` (permissions) are set when a sync sends it.
# tool_holder: the user who was granted a piece; nobody else sees it.
# tool_device: `given` is the server's last record of it, `trust` the digest of the last trust update brought to it.
# tool_material: `counted` is the serial of the outcome that counted its use.
# tool_outcome: `serial` is the tool's own and never changes; `number` is set when it is sent to the server, `code`
# when the server has answered.
STEPS = [
    """
    CREATE TABLE tool_state (
        one INTEGER NOT NULL PRIMARY KEY, tool TEXT NOT NULL, server TEXT NOT NULL, user_name TEXT NOT NULL,
        unit TEXT NOT NULL, permissions INTEGER NOT NULL, command_limit INTEGER NOT NULL,
        authorization_limit INTEGER NOT NULL, revocations BLOB, revocations_version INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL, seen INTEGER NOT NULL, position INTEGER NOT NULL, taken INTEGER NOT NULL,
        offered INTEGER NOT NULL, acknowledged INTEGER NOT NULL, serial INTEGER NOT NULL,
        reported_serial INTEGER NOT NULL, counted_from INTEGER NOT NULL, forgotten INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tool_delegation (position INTEGER NOT NULL PRIMARY KEY, token BLOB NOT NULL) STRICT;
    CREATE TABLE tool_want (
        serial INTEGER NOT NULL PRIMARY KEY, number INTEGER, device TEXT NOT NULL, token_type TEXT NOT NULL,
        action INTEGER NOT NULL, action_bit INTEGER NOT NULL, asked_by TEXT, asked_with INTEGER
    ) STRICT;
    CREATE INDEX tool_want_device ON tool_want (device, token_type, action);
    CREATE TABLE tool_device (
        device TEXT NOT NULL PRIMARY KEY, device_class INTEGER, mode INTEGER, security_level INTEGER,
        level_verified INTEGER, epoch INTEGER, installation INTEGER, given TEXT, session_opened_at INTEGER,
        session_seconds INTEGER, session_actions INTEGER, opened_by TEXT, trust TEXT
    ) STRICT;
    CREATE TABLE tool_material (
        kid BLOB NOT NULL, cti BLOB NOT NULL, device TEXT NOT NULL, token_type TEXT NOT NULL, actions INTEGER NOT NULL,
        sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, issued_at INTEGER NOT NULL, not_before INTEGER,
        expires_at INTEGER NOT NULL, session_seconds INTEGER, content BLOB NOT NULL, token BLOB NOT NULL,
        state INTEGER NOT NULL, sent_at INTEGER, counted INTEGER, PRIMARY KEY (kid, cti)
    ) STRICT;
    CREATE INDEX tool_material_device ON tool_material (device, token_type);
    CREATE TABLE tool_holder (
        user_name TEXT NOT NULL, kid BLOB NOT NULL, cti BLOB NOT NULL, PRIMARY KEY (user_name, kid, cti)
    ) STRICT;
    CREATE TABLE tool_outcome (
        serial INTEGER NOT NULL PRIMARY KEY, number INTEGER UNIQUE, device TEXT NOT NULL, action INTEGER NOT NULL,
        kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL, state INTEGER NOT NULL, reason INTEGER NOT NULL,
        answer BLOB NOT NULL, happened_at INTEGER NOT NULL, code INTEGER
    ) STRICT
    """
]
