"""All tables of a security manager; the comment above each names the one file that writes it."""

from __future__ import annotations

__all__ = ["STEPS"]

# people.py: roles, users, devices (`told_*`: the token and the time of a device's last report; `retired` is 1 for a
# device out of use).
PEOPLE = """
    CREATE TABLE manager_role (
        name TEXT NOT NULL PRIMARY KEY, permissions INTEGER NOT NULL, officer INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_user (name TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, unit TEXT NOT NULL) STRICT;
    CREATE TABLE manager_device (
        device TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, device_class INTEGER NOT NULL, mode INTEGER NOT NULL,
        security_level INTEGER NOT NULL, level_verified INTEGER NOT NULL, epoch INTEGER NOT NULL,
        pending_level INTEGER NOT NULL, key_version INTEGER NOT NULL, told_sequence INTEGER NOT NULL,
        told_at INTEGER NOT NULL, installation INTEGER NOT NULL, retired INTEGER NOT NULL
    ) STRICT
"""
# requests.py; `manager_request_key` holds the digest of a request made under an idempotency key, and its answer.
REQUESTS = """
    CREATE TABLE manager_request (
        id INTEGER NOT NULL PRIMARY KEY, officer TEXT NOT NULL, approver TEXT, unit TEXT NOT NULL,
        token_type TEXT NOT NULL, actions INTEGER NOT NULL, argument TEXT NOT NULL, session_seconds INTEGER,
        lifetime INTEGER NOT NULL, subject TEXT, critical INTEGER NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL,
        requested_at INTEGER NOT NULL, allotted_at INTEGER
    ) STRICT;
    CREATE INDEX manager_request_state ON manager_request (state);
    CREATE TABLE manager_request_key (
        officer TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, answer TEXT NOT NULL,
        PRIMARY KEY (officer, name)
    ) STRICT
"""
# batches.py; `devices` are separated by line ends, `epochs` and `key_versions` (of each device, when the batch was
# numbered) by blanks; `tokens` are a block. Tokens have serials from 1 without gaps; `first` is the batch's first serial.
BATCHES = """
    CREATE TABLE manager_lot (
        request INTEGER NOT NULL, place INTEGER NOT NULL, sequence INTEGER, first INTEGER, size INTEGER NOT NULL, kid BLOB,
        devices TEXT NOT NULL, epochs TEXT, key_versions TEXT, tokens BLOB, PRIMARY KEY (request, place)
    ) STRICT;
    CREATE UNIQUE INDEX manager_lot_sequence ON manager_lot (sequence);
    CREATE UNIQUE INDEX manager_lot_first ON manager_lot (first);
    CREATE INDEX manager_lot_open ON manager_lot (request, place) WHERE tokens IS NULL
"""
# issuing_keys.py
KEYS = """
    CREATE TABLE manager_key (
        kid BLOB NOT NULL PRIMARY KEY, delegation BLOB NOT NULL, valid_from INTEGER NOT NULL,
        valid_until INTEGER NOT NULL, position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_revoked_key (kid BLOB NOT NULL PRIMARY KEY) STRICT;
    CREATE TABLE manager_revoked_token (kid BLOB NOT NULL, cti BLOB NOT NULL, PRIMARY KEY (kid, cti)) STRICT;
    CREATE TABLE manager_watermark (
        device TEXT NOT NULL PRIMARY KEY, sequence INTEGER NOT NULL, issued_at INTEGER NOT NULL, epoch INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_snapshot (one INTEGER NOT NULL PRIMARY KEY, version INTEGER NOT NULL) STRICT
"""
# delivery.py: the position up to which each server's outcomes were collected, and the store that the server had then.
DELIVERY = """
    CREATE TABLE manager_cursor (
        source TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, incarnation TEXT NOT NULL
    ) STRICT
"""
# restoring.py: each restore of the store; sequence numbers after `known` and before `beyond` are lost, as are requests.
RESTORES = """
    CREATE TABLE manager_restore (
        number INTEGER NOT NULL PRIMARY KEY, incarnation TEXT NOT NULL, restored_at INTEGER NOT NULL,
        known INTEGER NOT NULL, beyond INTEGER NOT NULL, request INTEGER NOT NULL
    ) STRICT
"""
STEPS = [f"{PEOPLE};{REQUESTS};{BATCHES};{KEYS};{DELIVERY};{RESTORES}"]
