"""What `process_route` predicts is what the device does: every class, mode, level and action, every material in hand.

The device is written from the manual's rules, not from the policy's table, so agreement is a finding and no tautology.
Thinned, since no rule reads them together: the menu is taken away with one choice of material only, and the exchange of
keys is left out for switches of mode only.
"""

from itertools import count, product

import pytest

from itron_core import (
    Action,
    Decision,
    DeviceClass,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Mode,
    Need,
    Permission,
    PolicyOptions,
    SecurityLevel,
    issue_tokens,
    needs,
    process_route,
)
from itron_core.device import Device, Message, Outcome, _Spent
from itron_core.material import content_of, cti_of

NOW = 1_800_000_000
UPTIME = 50_000
HOUR = 3_600
EPOCH = 3
DEVICE, OTHER = "ert:100", "ert:200"
SIGNER = LocalSigner.generate()
KEYRING = Keyring([KeyringEntry(SIGNER.public_key)])
SEQUENCES = count(1)
ALL = sum(1 << action for action in Action)
READS = 0b11111
SWITCHES = {Action.SWITCH_TO_NETWORK_MODE, Action.SWITCH_TO_MOBILE_MODE}

LEVELS = [SecurityLevel.READY_TO_SECURE, SecurityLevel.COMMAND, SecurityLevel.FULL]
SETUPS = [
    (DeviceClass.BASIC, Mode.MOBILE, SecurityLevel.READY_TO_SECURE),
    *((DeviceClass.ENHANCED, Mode.MOBILE, level) for level in LEVELS),
    *((DeviceClass.MULTI_MODE, Mode.MOBILE, level) for level in LEVELS),
    *((DeviceClass.MULTI_MODE, Mode.NETWORK, level) for level in LEVELS),
]
OPTIONS = [
    PolicyOptions(),
    PolicyOptions(allow_service_on_basic=True),
    PolicyOptions(reads_without_session=True),
    PolicyOptions(status_without_key=True),
    PolicyOptions(service_needs_command_in_network_mode=True),
]
AUTHORIZATIONS = ["none", "genuine", "narrow", "used", "expired", "other device"]
COMMANDS = ["none", "genuine", "open session", "another", "used", "expired", "stale", "other device"]
READING_KEYS = ["none", "genuine", "narrow", "other device"]
SESSIONS = ["none", "open", "expired"]


def tokens(token_type, rows):
    """Issue a token a row of (device, actions, sequence, epoch, issued at)."""
    made = []
    for now in sorted({row[4] for row in rows}):
        some = [(place, row) for place, row in enumerate(rows) if row[4] == now]
        columns = {
            "device": [row[0] for _, row in some],
            "actions": [row[1] for _, row in some],
            "sequence": [row[2] for _, row in some],
            "epoch": [row[3] for _, row in some],
            "expires_at": [now + HOUR] * len(some),
        }
        if token_type == "secure_command":
            columns["command"] = [b"set_security_level:full"] * len(some)
        if token_type == "reading_key":
            columns |= {"kdf": [1] * len(some), "key_version": [1] * len(some), "check_value": [b"abcd"] * len(some)}
        issued = issue_tokens(columns, SIGNER, now=now, token_type=token_type).to_pylist()
        made += [(place, token) for (place, _), token in zip(some, issued, strict=True)]
    return [token for _, token in sorted(made)]


def made_for(token_type, kinds):
    """Return a token for every kind and action; `kinds` says what each is made of."""
    keys = list(product(kinds, Action))
    # One sequence a token, whatever its type: another content under one identity would be a conflict.
    rows = [(*kinds[kind](action), next(SEQUENCES)) for kind, action in keys]
    issued = tokens(token_type, [(device, actions, place, epoch, at) for device, actions, epoch, at, place in rows])
    return {key: (token, row[4]) for key, token, row in zip(keys, issued, rows, strict=True)}


PAST = NOW - 10 * HOUR
COMMAND = made_for(
    "secure_command",
    {
        "genuine": lambda a: (DEVICE, 1 << a, EPOCH, NOW),
        "open session": lambda a: (DEVICE, 1 << Action.OPEN_SESSION, EPOCH, NOW),
        "another": lambda a: (
            DEVICE,
            1 << (Action.GEOMODE if a != Action.GEOMODE else Action.RESET_ENDPOINT),
            EPOCH,
            NOW,
        ),
        "used": lambda a: (DEVICE, 1 << a, EPOCH, NOW),
        "expired": lambda a: (DEVICE, 1 << a, EPOCH, PAST),
        "stale": lambda a: (DEVICE, 1 << a, EPOCH - 1, NOW),
        "other device": lambda a: (OTHER, 1 << a, EPOCH, NOW),
    },
)
AUTHORIZATION = made_for(
    "authorization",
    {
        "genuine": lambda a: (DEVICE, ALL, EPOCH, NOW),
        "narrow": lambda a: (DEVICE, ALL & ~(1 << a), EPOCH, NOW),
        "used": lambda a: (DEVICE, ALL, EPOCH, NOW),
        "expired": lambda a: (DEVICE, ALL, EPOCH, PAST),
        "other device": lambda a: (OTHER, ALL, EPOCH, NOW),
    },
)
READING_KEY = made_for(
    "reading_key",
    {
        "genuine": lambda a: (DEVICE, READS, EPOCH, NOW),
        "narrow": lambda a: (DEVICE, (READS | 1 << Action.GEOMODE) & ~(1 << a), EPOCH, NOW),
        "other device": lambda a: (OTHER, READS, EPOCH, NOW),
    },
)


class Situation:
    """One row of the route, and the device that is in it."""

    def __init__(self, setup, options, action, held, *, key_exchange=True, on_menu=True):
        self.setup, self.options, self.action = setup, options, action
        self.authorization_kind, self.command_kind, reading_key_kind, self.session = held
        self.key_exchange, self.on_menu = key_exchange, on_menu
        self.authorization, self.authorization_number = AUTHORIZATION.get((held[0], action), (None, 0))
        self.command, self.command_number = COMMAND.get((held[1], action), (None, 0))
        self.reading_key, _ = READING_KEY.get((reading_key_kind, action), (None, 0))

    def device(self):
        device_class, mode, level = self.setup
        menu = set(Action) - (set() if self.on_menu else {self.action})
        device = Device(
            DEVICE, device_class, keyring=KEYRING, epoch=EPOCH, mode=mode, level=level, menu=menu, options=self.options
        )
        device._uptime = UPTIME
        device._session = {"none": None, "open": (UPTIME + HOUR, ALL), "expired": (UPTIME, ALL)}[self.session]
        for kind, token, number in [
            (self.authorization_kind, self.authorization, self.authorization_number),
            (self.command_kind, self.command, self.command_number),
        ]:
            if kind == "used":
                identity = SIGNER.public_key.kid.hex(), cti_of(DEVICE, number).hex()
                device._spent.append(_Spent(*identity, content_of(token).hex(), number, {"first": 1}))
        return device

    def send(self, device, action, token):
        message = Message(action, token=token, reading_key=self.reading_key, key_exchange=self.key_exchange)
        return device.answer(message, uptime=UPTIME, now=NOW)

    def opener(self):
        return self.authorization if self.setup[1] is Mode.NETWORK else self.command

    def spent(self):
        wanted = needs(*self.setup, self.action, self.options)
        if Need.SECURE_COMMAND in wanted:
            return self.command
        return self.authorization if Need.AUTHORIZATION in wanted else None

    def __repr__(self):
        return (
            f"{[value.name for value in self.setup]} {self.action.name}: authorization {self.authorization_kind},"
            f" command {self.command_kind}, session {self.session}, reading key {self.reading_key is not None},"
            f" exchange {self.key_exchange}, menu {self.on_menu}"
        )


def situations(setup, options):
    held = list(product(AUTHORIZATIONS, COMMANDS, READING_KEYS, SESSIONS))
    for action in Action:
        yield from (Situation(setup, options, action, one) for one in held)
        yield Situation(setup, options, action, ("genuine", "genuine", "genuine", "open"), on_menu=False)
        if action in SWITCHES:
            yield from (Situation(setup, options, action, one, key_exchange=False) for one in held)


def predicted(rows):
    opened = {"none": None, "open": NOW, "expired": NOW - HOUR}
    route = {
        "device": [DEVICE] * len(rows),
        "device_class": [int(row.setup[0]) for row in rows],
        "mode": [int(row.setup[1]) for row in rows],
        "security_level": [int(row.setup[2]) for row in rows],
        "action": [int(row.action) for row in rows],
        "authorization": [row.authorization for row in rows],
        "secure_command": [row.command for row in rows],
        "reading_key": [row.reading_key for row in rows],
        "authorization_used": [row.authorization_kind == "used" for row in rows],
        "secure_command_used": [row.command_kind == "used" for row in rows],
        "session_opened_at": [opened[row.session] for row in rows],
        "session_seconds": [None if row.session == "none" else HOUR for row in rows],
        "key_exchange": [row.key_exchange for row in rows],
        "on_menu": [row.on_menu for row in rows],
        "epoch": [EPOCH] * len(rows),
    }
    results = process_route(route, KEYRING, now=NOW, permissions=~Permission(0), options=rows[0].options)
    return zip(rows, results["decision"].to_pylist(), results["reason"].to_pylist(), strict=True)


def check(row, decision, reason):
    device = row.device()
    if decision == Decision.ALLOWED:
        assert row.send(device, row.action, row.spent()).outcome is Outcome.DONE, row
    elif decision == Decision.ALLOWED_AFTER_OPEN:
        assert row.send(device, row.action, row.spent()).outcome is not Outcome.DONE, row
        assert row.send(device, Action.OPEN_SESSION, row.opener()).outcome is Outcome.DONE, row
        assert row.send(device, row.action, row.spent()).outcome is Outcome.DONE, row
    else:
        assert decision == Decision.REFUSED, row
        check_refusal(row, device, reason)


def check_refusal(row, device, reason):
    before = device.state
    used = {
        row.command if row.command_kind == "used" else b"",
        row.authorization if row.authorization_kind == "used" else b"",
    }
    for token in {None, row.command, row.authorization}:
        answer = row.send(device, row.action, token)
        replayed = answer.outcome is Outcome.REPLAYED
        assert answer.outcome is Outcome.REFUSED or (replayed and token in used), (row, reason)
        assert device.state == before, row
    # Nor does a session help that the material in hand may open all the same; one is not opened to be closed (R19).
    if row.action not in {Action.OPEN_SESSION, Action.CLOSE_SESSION}:
        for opener in {row.command, row.authorization} - {None}:
            device = row.device()
            row.send(device, Action.OPEN_SESSION, opener)
            if opener != row.spent():
                assert row.send(device, row.action, row.spent()).outcome is not Outcome.DONE, (row, reason)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: "-".join(value.name.lower() for value in setup))
def test_the_device_does_what_was_predicted(setup):
    counts = dict.fromkeys(Decision, 0)
    rows = list(situations(setup, OPTIONS[0]))
    for row, decision, reason in predicted(rows):
        check(row, decision, reason)
        counts[Decision(decision)] += 1
    assert counts[Decision.ALLOWED], "nothing was allowed: nothing was shown"
    assert counts[Decision.REFUSED]


@pytest.mark.parametrize("options", OPTIONS[1:], ids=["service on basic", "reads", "status", "service in network mode"])
def test_every_reading_of_the_policy_is_the_device_s_too(options):
    actions = {Action.READ_ENDPOINT, Action.GET_SERVICE_STATUS, Action.READ_INTERVAL_DATA, Action.DISCONNECT_SERVICE}
    differs = 0
    for setup in SETUPS:
        rows = [row for row in situations(setup, options) if row.action in actions]
        plain = [
            decision
            for _, decision, _ in predicted(
                [
                    Situation(
                        setup, OPTIONS[0], row.action, (row.authorization_kind, row.command_kind, "none", row.session)
                    )
                    for row in rows
                ]
            )
        ]
        for (row, decision, reason), other in zip(predicted(rows), plain, strict=True):
            check(row, decision, reason)
            differs += decision != other
    assert differs
