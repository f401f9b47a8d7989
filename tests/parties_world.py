"""Five real parties in one folder, and a plain account of what they did, kept beside them by the tests.

The account is told nothing by the parties' own rules: what a device is follows from its answers, and whether it may do
something is asked of `process_route` and of a few sentences here.
"""

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from copy import deepcopy as copy_of
from typing import NamedTuple

from itron_core import (
    Action,
    ActionGroup,
    Code,
    Decision,
    DeviceClass,
    ExchangeError,
    KeyRefused,
    Keyring,
    KeyringEntry,
    LocalSigner,
    MasterKey,
    Mode,
    Permission,
    RequestRefused,
    Revocations,
    SecurityLevel,
    StoreError,
    TokenRefused,
    process_route,
    verify_tokens,
)
from itron_core._rust import accepted_revocations
from itron_core.audit import AuditLog, verify
from itron_core.audit.journal import Journal, adopt_log_entries
from itron_core.device import Device, Message, Outcome, TrustUpdate
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.material import MaterialState
from itron_core.exchange.protocols import Exchange
from itron_core.exchange.records import DeviceRecord
from itron_core.field_tool import FieldTool
from itron_core.manager import restoring
from itron_core.manager.security_manager import Limits, SecurityManager
from itron_core.policy import permission_for_scope
from itron_core.service.app import bearer_token, create_app
from itron_core.service.client import RemoteToolsServer
from itron_core.stores import open_store
from itron_core.stores.incarnation import mark_restored
from itron_core.tools_server import ToolsServer
from serving import Running

NOW = 1_800_000_000
DAY, HOUR = 86_400, 3_600
EVERYTHING = sum(Permission)
LIMIT = 2
SKEW, LONGEST_SKEW = 120, 600  # docs/format.md: how far clocks may differ
ROOT, AUDITOR, FIRST_KEY = LocalSigner.generate(), LocalSigner.generate(), LocalSigner.generate("ESP256")
MASTER = MasterKey.generate()
USERS = {"t1": "ann", "t2": "bob"}
PEOPLE = ["ann", "bob", "cleo"]
FEW = Permission.READ_ENDPOINTS
YEAR = 365 * DAY
SPENT = {MaterialState.USED, MaterialState.REPLAYED}
COUNTED = {Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE}
COMMANDS = [Action.DISCONNECT_SERVICE, Action.CONNECT_SERVICE, Action.OPEN_SESSION, Action.EXCHANGE_KEYS]
READING = [Action.READ_ENDPOINT, Action.READ_INTERVAL_DATA]
SWITCHES = {Action.SWITCH_TO_NETWORK_MODE: Mode.NETWORK, Action.SWITCH_TO_MOBILE_MODE: Mode.MOBILE}
SESSION = 600
SCOPES = [[*READING, Action.PROGRAM_ENDPOINT], [Action.DISCONNECT_SERVICE], [Action.PROGRAM_ENDPOINT, *SWITCHES]]


def bits(actions):
    return sum(1 << action for action in actions)


# What is issued: type, action or scope, options of the request.
STOCK = [
    *(("secure_command", action, {}) for action in COMMANDS),
    *(
        ("secure_command", Action.SET_SECURITY_LEVEL, {"argument": level})
        for level in ["command", "full", "ready_to_secure"]
    ),
    *(("authorization", bits(scope), {"session_seconds": SESSION}) for scope in SCOPES),
    ("reading_key", bits(READING), {}),
]
WISHES = {
    "secure_command": [*COMMANDS, Action.SET_SECURITY_LEVEL],
    "authorization": [*READING, Action.PROGRAM_ENDPOINT, *SWITCHES, Action.DISCONNECT_SERVICE],
    "reading_key": READING,
}


class Kind(NamedTuple):
    """What a meter is when it is installed; `has_clock` says whether it knows the time."""

    device_class: DeviceClass
    mode: Mode = Mode.MOBILE
    level: SecurityLevel = SecurityLevel.READY_TO_SECURE
    has_clock: bool = True


KINDS = {
    "ert:1": Kind(DeviceClass.ENHANCED, level=SecurityLevel.COMMAND),
    "ert:2": Kind(DeviceClass.ENHANCED, level=SecurityLevel.FULL, has_clock=False),
    "ert:3": Kind(DeviceClass.MULTI_MODE, level=SecurityLevel.COMMAND, has_clock=False),
    "ert:4": Kind(DeviceClass.MULTI_MODE, Mode.NETWORK),
    "ert:5": Kind(DeviceClass.ENHANCED),
    "ert:6": Kind(DeviceClass.BASIC),
}


class Cut:
    """A connection that is cut at its n-th message, before it arrives or before its answer does; the rest passes.

    The server has a clock of its own.
    """

    BEFORE_MATERIAL = 2  # reports, a sign-in and a request come before it

    def __init__(self, world, at=None, *, before=True):
        self.world, self.left, self.before = world, at, before
        self.at_call, self.calls = None, 0
        self.signed_in = False

    def __getattr__(self, name):
        def call(*arguments, **options):
            if self.at_call and name in {"snapshot", "request", "material", "devices"}:
                at, happen = self.at_call
                if self.calls == at:
                    happen()
                self.calls += 1
            is_cut = self.left == 0
            self.left = None if self.left is None else self.left - 1
            if is_cut and self.before:
                raise ExchangeError("cut")
            if "now" in options:
                options["now"] = self.world.now
            answer = getattr(self.world.reached_by(name, arguments), name)(*arguments, **options)
            if is_cut:
                raise ExchangeError("cut")
            self.signed_in |= name == "snapshot"
            return answer

        return call

    @property
    def was_cut(self):
        return self.left is not None and self.left < 0


class Service:
    """The tools server of the world at hand, over HTTP on loopback; the calls of each party go by its own bearer."""

    MANAGER = "ism"

    def __init__(self):
        self.world, self._signer, self._callers = None, LocalSigner.generate(), {}
        self.answered = 0
        app = create_app(self, bearer_key=self._signer.public_key, clock=lambda: self.world.now)
        self._running = Running(app)

    def __getattr__(self, name):
        self.answered += 1
        return getattr(self.world.server, name)

    def reached_by(self, who):
        """Return the server as a party reaches it; a bearer that has ended is made anew."""
        user = self.world.user_of.get(who)
        caller, made_at = self._callers.get((who, user), (None, None))
        if made_at is None or not made_at <= self.world.now < made_at + HOUR:
            if caller is not None:
                caller.close()
            caller, made_at = RemoteToolsServer(self._running.url, self._bearer(who)), self.world.now
            self._callers[who, user] = caller, made_at
        return caller

    def _bearer(self, who):
        who_it_is = {"subject": who, "roles": ["manager"]}
        if who in USERS:
            who_it_is = {"subject": self.world.user_of[who], "roles": ["field_tool"], "tool": who, "unit": "gas"}
        return bearer_token(self._signer, **who_it_is, now=self.world.now, lifetime=HOUR)

    def stop(self):
        for caller, _ in self._callers.values():
            caller.close()
        self._running.stop()


class Revoked(NamedTuple):
    """What is revoked, as plain sets; a device's watermark is its least sequence that stays good."""

    keys: frozenset = frozenset()
    tokens: frozenset = frozenset()
    devices: frozenset = frozenset()

    def names(self, material):
        return (
            material.kid in self.keys
            or (material.kid, material.cti) in self.tokens
            or any(device == material.device and material.sequence < least for device, least in self.devices)
        )


class Meter:
    """A real device with what follows from its answers: mode, level, epoch, session."""

    def __init__(self, world, name, kind, *, epoch=0, revocations=None, revoked=None):
        self.world, self.name, self.kind = world, name, kind
        self.mode, self.level, self.epoch = kind.mode, kind.level, epoch
        self.session = None  # the timer's reading at its end, and the actions it allows
        self.watermark, self.operations, self.booted = 0, 0, world.now - 1
        self.ring, self.given, self.revoked = world.manager.keyring(now=world.now), revocations, revoked
        self.brought, self.revocations = (), revocations
        self.device = Device(
            name,
            kind.device_class,
            keyring=self.ring,
            epoch=epoch,
            mode=kind.mode,
            level=kind.level,
            revocations=revocations,
        )

    def record(self):
        """Return the record that somebody writes who looks at it."""
        kind = self.kind.device_class
        return DeviceRecord(self.name, "gas", kind, self.mode, self.level, level_verified=True, epoch=self.epoch)

    def hear(self):
        """Be given the keys and revocations of the day, as a maintenance visit would."""
        world = self.world
        self.ring = world.manager.keyring(now=world.now)
        token = world.manager.snapshot(now=world.now)
        self.given = self.revocations = Revocations.from_token(token, self.ring, now=world.now)
        self.revoked = world.revoked
        self.reload()

    def reload(self):
        self.device = Device.from_bytes(self.device.to_bytes(), keyring=self.ring, revocations=self.given)

    def learn(self, update, revoked):
        """Be brought delegations and revocations by a tool, which was told itself that this is revoked."""
        now = self.world.now
        answer = self.device.answer(update, uptime=now - self.booted, now=now if self.kind.has_clock else None)
        if answer.outcome is Outcome.DONE:
            self.brought = update.delegations
            if update.revocations is not None:
                told = accepted_revocations(update.revocations)
                if self.revocations is None or told.version > self.revocations.version:
                    self.revocations, self.revoked = told, revoked
        else:
            assert answer.reason in {Code.SEQUENCE_OLD, Code.EXPIRED}, answer
        return answer

    def ring_at(self, moment):
        """Return the keyring that it was given, with what was brought to it and is in force."""
        ring = self.ring
        for token in self.brought:
            at = moment if self.kind.has_clock else max(moment, self._signed_at(token))
            with suppress(TokenRefused, KeyRefused):
                ring = ring.with_delegations([token], now=at)
        return ring

    def _signed_at(self, delegation):
        """Return when a delegation was signed: without a clock, that it was signed later says nothing."""
        root = Keyring([KeyringEntry(ROOT.public_key, issuer="ism", token_types=TOKEN_TYPES)])
        issued = verify_tokens([delegation], root, now=self.world.now, token_type="delegation")["issued_at"]
        return int(issued.to_pylist()[0].timestamp())

    def restart(self):
        self.device.restart()
        self.session, self.booted = None, self.world.now

    def answer(self, message):
        uptime = self.world.now - self.booted
        spent = self.world.catalog.get(message.token)
        decision, before = self._decision(message, uptime), self.device.state.uses
        answer = self.device.answer(message, uptime=uptime, now=self.world.now if self.kind.has_clock else None)
        self._check(message, spent, decision, answer)
        if answer.outcome is Outcome.DONE:
            # An action that needs no token spends none.
            self._did(message, spent if self.device.state.uses != before else None, answer, uptime)
        state = self.device.state
        assert (state.mode, state.level, state.epoch) == (self.mode, self.level, self.epoch)
        assert state.operations == self.operations
        return answer

    def is_void(self, material):
        """Whether it can know that material for it is no good any more."""
        is_late = self.kind.has_clock and material.expires_at + SKEW <= self.world.now
        return is_late or material.epoch < self.epoch or bool(self.revoked and self.revoked.names(material))

    def _moment(self, shown):
        """Return the time that the device can know."""
        if self.kind.has_clock:
            return max(self.world.now, self.watermark)
        return max([self.watermark, NOW, *(material.issued_at for material in shown)])

    def _decision(self, message, uptime):
        shown = [self.world.catalog.get(token) for token in (message.token, message.reading_key)]
        looked_at = shown[1] if message.action.group is ActionGroup.READ else shown[0]
        moment = self._moment([looked_at] if looked_at else [])
        session = (None, None)
        if self.session and (self.session[1] >> message.action & 1 or message.action is Action.CLOSE_SESSION):
            session = (moment - 1, 9) if uptime < self.session[0] else (moment - 9, 1)
        columns = {
            "device": [self.name],
            "device_class": [self.kind.device_class],
            "security_level": [self.level],
            "mode": [self.mode],
            "action": [message.action],
            "epoch": [self.epoch],
            "session_opened_at": [session[0]],
            "session_seconds": [session[1]],
            "reading_key": [message.reading_key],
            "key_exchange": [message.key_exchange],
        }
        if shown[0]:
            columns[shown[0].token_type] = [message.token]
        ring = self.ring_at(moment)
        results = process_route(columns, ring, now=moment, permissions=EVERYTHING, revocations=self.revocations)
        return Decision(results["decision"][0])

    def _check(self, message, spent, decision, answer):
        done = self.world.done.get((spent.kid, spent.cti)) if spent else None
        if answer.outcome is Outcome.REPLAYED:
            assert done is not None, "a replay of what was never done"
            # Used for another action that it covers, it tells of that one (docs/device.md).
            assert (done[0], done[2], answer.reason) == (self, answer.data, Code.REPLAY_IDENTICAL)
        elif answer.outcome is Outcome.DONE:
            assert decision is Decision.ALLOWED, (self.name, message.action, decision)
        else:
            assert decision is not Decision.ALLOWED or done, (self.name, message.action, answer)

    def _did(self, message, spent, answer, uptime):
        action = message.action
        for material in (spent, self.world.catalog.get(message.reading_key)):
            if material is None or (material is not spent and not self._shows_key(action)):
                continue
            assert material.device == self.name
            assert material.epoch >= self.epoch, "material from before a key exchange"
            assert self._moment([material]) < material.expires_at + SKEW, "expired"
            assert not (self.revoked and self.revoked.names(material)), "revoked, and the device had been told"
            self.watermark = max(self.watermark, material.issued_at)
        if spent is not None:
            assert (spent.kid, spent.cti) not in self.world.done, "used twice"
            assert spent.actions >> action & 1 or action is Action.OPEN_SESSION
            self.world.done[spent.kid, spent.cti] = (self, action, answer.data)
        if action.group is ActionGroup.SERVICE:
            assert self.kind.device_class is not DeviceClass.BASIC
            assert self.level is not SecurityLevel.READY_TO_SECURE or self.mode is Mode.NETWORK
            self.operations += 1
        self._become(action, spent, uptime, answer)

    def _shows_key(self, action):
        is_full = self.level is SecurityLevel.FULL and self.mode is Mode.MOBILE
        return is_full and action.group is ActionGroup.READ

    def _become(self, action, spent, uptime, answer):
        if action is Action.OPEN_SESSION:
            actions = spent.actions if spent.token_type == "authorization" else -1
            self.session = (uptime + spent.session_seconds, actions)
        elif action is Action.CLOSE_SESSION or action.group is ActionGroup.SECURITY:
            self.session = None
        if action is Action.SET_SECURITY_LEVEL:
            self.level = SecurityLevel[answer.data["level"].upper()]
        elif action.group is ActionGroup.SECURITY:
            self.epoch += 1
            self.mode = SWITCHES.get(action, self.mode)


class ToolBooks:
    """What the account knows of a field tool: what it sent, and what it was told."""

    def __init__(self):
        self.behind = 0  # how far its clock was set back
        self.latest = 0
        self.ever_sent, self.counted = set(), {}
        self.answers, self.unanswered = [], set()
        self.revoked = Revoked()
        self.forgotten = {}  # what was pruned, as it was then
        self.granted = {}  # what the server has ever granted to each user here
        self.is_ahead = False  # whether its clock was ahead once, and no sync has healed it since
        self.was_put_back = False
        self.lost = set()  # uses that a server lost, and that were pruned before the tool knew


class World:
    """Manager, tools server, two field tools and the meters, all in one folder; `service` puts HTTP between them."""

    def __init__(self, folder, service=None):
        self.folder, self.now, self.service = folder, NOW, service
        if service is not None:
            service.world = self
        self.signer, self.delegated_until = FIRST_KEY, 0
        self.parts = {}
        self.catalog, self.done = {}, {}
        self.released, self.outcomes = [], []
        self.revoked = self.delivered_revoked = Revoked()
        self.books = {tool: ToolBooks() for tool in USERS}
        self.user_of = dict(USERS)
        self.backups, self.server_was_put_back, self.manager_was_put_back = {}, False, False
        self.unaware = set()  # tools that have not synced since the server was put back
        self.lost = set()  # what was issued between a backup of the manager and its restore
        self.went_back = set()
        for party in ["manager", "server", *USERS]:
            self.open(party)
        if not self.manager.devices():
            self._people()
            self._stock()
        self._take_stock()
        self.meters = {name: Meter(self, name, kind) for name, kind in KINDS.items()}
        for tool in USERS:
            self._note_grants(tool)

    # --- The parties ---

    @property
    def manager(self):
        return self.parts["manager"][0]

    @property
    def server(self):
        return self.parts["server"][0]

    def tool(self, name):
        return self.parts[name][0]

    def reached_by(self, name, arguments):
        """Return the tools server as the caller of this method reaches it."""
        if self.service is None:
            return self.server
        return self.service.reached_by(arguments[0] if hasattr(Exchange, name) else Service.MANAGER)

    def open(self, party):
        """Start a party, as a new process would: by what is in its folder."""
        if party in self.parts:
            self.parts[party][1].close()
        store = open_store(self.folder / f"{party}.db")
        log = AuditLog(self.folder / f"{party}.log", AUDITOR, origin=f"utility.example/{party}")
        ring = Keyring([KeyringEntry(ROOT.public_key, issuer="ism", token_types=TOKEN_TYPES)])
        if party == "manager":
            part = SecurityManager(
                *(store, self.signer),
                root=ROOT,
                master=MASTER,
                utility="UTIL",
                limits=Limits(alone=LIMIT, critical=10**6),
                log=log,
            )
        elif party == "server":
            part = ToolsServer(store, ring, log=log)
        else:
            part = FieldTool(store, ring, party, log=log)
        self.parts[party] = (part, store, log)

    def close(self):
        for _, store, _ in self.parts.values():
            store.close()

    def _people(self):
        manager = self.manager
        manager.set_role("officer", EVERYTHING, officer=True, now=self.now)
        manager.set_role("worker", EVERYTHING, now=self.now)
        for name, role in [("olga", "officer"), ("otto", "officer"), *((name, "worker") for name in PEOPLE)]:
            manager.set_user(name, role, "gas", now=self.now)
        manager.set_devices([self.record(name, kind) for name, kind in KINDS.items()], now=self.now)
        manager.rotate(self.signer, now=self.now)

    def _stock(self):
        """Give both tools three of everything, for every device."""
        for token_type, actions, options in STOCK * 3:
            self.give(list(KINDS), token_type, actions, **options)
        self.deliver()
        for tool in USERS:
            for token_type, actions in WISHES.items():
                self.tool(tool).request_commands(list(KINDS), token_type=token_type, actions=actions, now=self.now)
            self.sync(tool)

    def record(self, name, kind, epoch=0):
        return DeviceRecord(name, "gas", kind.device_class, kind.mode, kind.level, level_verified=True, epoch=epoch)

    # --- The manager's work ---

    def rotate(self, algorithm, overlap):
        self.signer = LocalSigner.generate(algorithm)
        self.manager.rotate(self.signer, now=self.now, overlap=overlap)
        self.delegated_until = self.now + 90 * DAY

    def issue(self):
        """Issue, and put what came into the catalog."""
        if self.now >= (self.delegated_until or NOW + 90 * DAY):
            self.rotate("Ed25519", 0)
        self.manager.issue(now=self.now)
        self._take_stock()

    def _take_stock(self):
        rows = self.manager.materials(0, 1_000_000).rows
        assert rows[: len(self.released)] == self.released, "what was released has changed"
        for _, material in rows[len(self.released) :]:
            identity = [(one.kid, one.cti) for one in self.catalog.values()]
            assert (material.kid, material.cti) not in identity, "two tokens under one identity"
            assert (material.device, material.sequence) not in {(m.device, m.sequence) for m in self.catalog.values()}
            self.catalog[material.token] = material
        self.released = rows

    def revoke(self, **what):
        self.manager.revoke(
            issuers=what.get("keys", ()),
            tokens=what.get("tokens", ()),
            devices={device: (least, 0, 0) for device, least in what.get("devices", ())},
            now=self.now,
        )
        self.revoked = Revoked(*(now | set(what.get(name, ())) for name, now in self.revoked._asdict().items()))

    def deliver(self, cut=None):
        link = cut or Cut(self)
        try:
            self.manager.deliver(link, now=self.now, limit=3)
        except ExchangeError:
            assert link.was_cut
        else:
            self.delivered_revoked = self.revoked

    def collect(self, cut=None):
        link = cut or Cut(self)
        try:
            self.manager.collect(link, now=self.now)
        except ExchangeError:
            assert link.was_cut

    def replace(self, name, *, epoch_rises):
        """Put a new meter in the place of an old one: a higher epoch ends the old one's material, or a watermark."""
        old = self.meters[name]
        kind = KINDS[name]
        if epoch_rises:
            epoch = old.epoch + 1
        else:
            epoch = 0
            least = 1 + max([0, *(m.sequence for m in self.catalog.values() if m.device == name)])
            self.revoke(devices=[(name, least)])
        if epoch < old.epoch:
            self.went_back.add(name)
        self.meters[name] = Meter(self, name, kind, epoch=epoch)
        if not epoch_rises:
            self.meters[name].hear()
        self.manager.set_devices([self.record(name, kind, epoch)], now=self.now)

    # --- The field ---

    def clock_of(self, tool):
        return self.now - self.books[tool].behind

    def sync(self, tool, cut=None):
        link, books = cut or Cut(self), self.books[tool]
        delivered = self.delivered_revoked
        books.latest = max(books.latest, self.clock_of(tool))
        try:
            self.tool(tool).sync(link, self.user_of[tool], now=self.clock_of(tool), page=3)
        except ExchangeError:
            if not link.was_cut:
                raise
        else:
            books.counted.clear()
            self.unaware.discard(tool)
        if link.signed_in:  # what it brings is kept at once, whatever is cut after it
            books.revoked = delivered
            status = self.tool(tool).status(now=self.now)
            ended = status.revocations_until is not None and status.revocations_until <= self.now
            # While no snapshot is in force nobody can prove the time, and nothing may be used anyway.
            assert status.seen is None or ended, "a clock that was ahead once was not healed"
            books.is_ahead = status.seen is not None
        self._note_grants(tool)

    def _note_grants(self, tool):
        with self.parts["server"][1].read() as t:
            rows = t.rows(
                "SELECT g.user_name, m.kid, m.cti FROM server_grant g JOIN server_material m ON m.serial = g.material"
                " WHERE g.tool = ?",
                (tool,),
            )
        for user, kid, cti in rows:
            self.books[tool].granted.setdefault(user, set()).add((bytes(kid), bytes(cti)))

    def be_ahead_once(self, tool, name):
        """Let a tool see a time far ahead, once."""
        self.tool(tool).add_devices([name], now=self.now + 9 * YEAR)
        self.books[tool].is_ahead = True

    def take_permissions(self, tool, at):
        """Take all permissions but one from who signs in, at a message of the sync; what comes after is filtered."""
        user = self.user_of[tool]
        users = [(name, "gas", FEW if name == user else EVERYTHING) for name in PEOPLE]
        link = Cut(self)
        before, taken = self._holders(tool), []

        def take():
            self.server.set_users(users, now=self.now)
            taken.append(True)

        link.at_call = (at, take)
        self.sync(tool, link)
        if taken and at <= Cut.BEFORE_MATERIAL:
            new = self._holders(tool) - before
            scopes = {(m.kid, m.cti): permission_for_scope(m.token_type, m.actions) for m in self.catalog.values()}
            assert all(scopes[kid, cti] in FEW for _, kid, cti in new), "granted without the permission for its scope"
        self.server.set_users([(name, "gas", EVERYTHING) for name in PEOPLE], now=self.now)
        for token_type, actions in WISHES.items():
            self.tool(tool).request_commands(
                list(KINDS), token_type=token_type, actions=actions, now=self.clock_of(tool)
            )

    def _holders(self, tool):
        with self.parts[tool][1].read() as t:
            rows = t.rows("SELECT user_name, kid, cti FROM tool_holder")
        return {(user, bytes(kid), bytes(cti)) for user, kid, cti in rows}

    def back_up(self, tool):
        """Keep a copy of a party's store and log, and of what is known of it; of the manager, its key as well."""
        folder = self.folder / f"{tool}.backup"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with (
            closing(sqlite3.connect(self.folder / f"{tool}.db")) as store,
            closing(sqlite3.connect(folder / "store.db")) as copy,
        ):
            store.backup(copy)
        shutil.copytree(self.folder / f"{tool}.log", folder / "log")
        kept = (self.signer, self.delegated_until, list(self.released)) if tool == "manager" else None
        self.backups[tool] = kept or copy_of(self.books.get(tool))

    def put_back(self, tool):
        """Put a tool's store back to its backup, as `restore` does: it has another incarnation, and knows it."""
        books, then = self.books[tool], self.backups[tool]
        self._replace_by_backup(tool)
        taken = {
            (one.kid, one.cti, one.answer) for _, who, one, _ in self.server.outcomes(0, 1_000_000).rows if who == tool
        }
        # What it did since is known to the devices, and to the server as far as it was reported.
        books.answers = [one for one in books.answers if one in taken or one in then.answers]
        books.latest, books.revoked, books.forgotten = then.latest, then.revoked, dict(then.forgotten)
        books.is_ahead, books.was_put_back = then.is_ahead, True

    def put_back_server(self):
        """Put the server back; the manager delivers again what it lost before any tool comes."""
        self._replace_by_backup("server")
        self.outcomes, self.server_was_put_back, self.unaware = [], True, set(USERS)
        self.deliver()

    def put_back_manager(self):
        """Put the manager back, its log kept, as `restore` does; then follow docs/restore.md: rotate, check the devices."""
        signer, self.delegated_until, released = self.backups["manager"]
        self.parts["manager"][1].close()
        self._copy_store("manager")
        log = AuditLog(self.folder / "manager.log", AUDITOR, origin="utility.example/manager")
        with closing(open_store(self.folder / "manager.db")) as store:
            journal = Journal(store, "manager")
            with store.write() as t:
                mark_restored(t)
                _, noted = restoring.go_on(t, adopt_log_entries(t, "manager", log), now=self.now)
                journal.write(t, noted)
        lost = {(one.kid, one.cti) for one in self.catalog.values()} - {(one.kid, one.cti) for _, one in released}
        self.lost |= lost
        if lost:  # a server that is older, too, has nobody left to learn of them from
            self.backups.pop("server", None)
        self.signer, self.released, self.manager_was_put_back = signer, released, True
        del self.parts["manager"]
        self.open("manager")
        self.rotate("Ed25519", 7 * DAY)
        self.manager.set_devices([meter.record() for meter in self.meters.values()], now=self.now)

    def _copy_store(self, party):
        for suffix in ["", "-wal", "-shm"]:
            (self.folder / f"{party}.db{suffix}").unlink(missing_ok=True)
        shutil.copy(self.folder / f"{party}.backup" / "store.db", self.folder / f"{party}.db")

    def _replace_by_backup(self, tool):
        folder = self.folder / f"{tool}.backup"
        self.parts[tool][1].close()
        self._copy_store(tool)
        shutil.rmtree(self.folder / f"{tool}.log")
        shutil.copytree(folder / "log", self.folder / f"{tool}.log")
        with closing(open_store(self.folder / f"{tool}.db")) as store, store.write() as t:
            mark_restored(t)
        del self.parts[tool]
        self.open(tool)

    def report(self, tool, cut=None):
        link = cut or Cut(self)
        try:
            codes = self.tool(tool).report(link, now=self.clock_of(tool), page=2)
            assert Code.REPLAY_CONFLICT not in codes.values()
        except ExchangeError:
            assert link.was_cut
        except RequestRefused as refused:  # over HTTP nobody acts on the sign-in of the user before
            is_another = self.service is not None and self.user_at(tool) != self.user_of[tool]
            # After a backup was put back on either side, the next sync finds out how both go on.
            was_put_back = self.books[tool].was_put_back or self.server_was_put_back
            if refused.reason not in {"sign_in_required", "number_reused", "number_skipped"} or not (
                is_another or was_put_back
            ):
                raise

    def prune(self, party, age):
        """Let the server or a tool forget what ended so long ago; a tool only what nothing needs any more."""
        if party not in USERS:
            self.server.prune(before=self.now - age, now=self.now)
            return
        books, before = self.books[party], self.clock_of(party) - age
        books.latest = max(books.latest, self.clock_of(party))
        held = self._in_store(party)
        count = self.tool(party).prune(before=before, now=self.clock_of(party))
        self.backups.pop("server", None)  # what a tool forgot it cannot tell a server that was put back
        gone = {identity: state for identity, state in held.items() if identity not in self._in_store(party)}
        assert len(gone) == count
        taken = {(one.kid, one.cti, one.answer) for _, who, one, _ in self.server.outcomes(0, 1_000_000).rows}
        ended = {(m.kid, m.cti) for m in self.catalog.values() if m.expires_at + LONGEST_SKEW < before}
        counted = {cti for ctis in books.counted.values() for cti in ctis}
        assert gone.keys() <= ended, "what is in force was forgotten"
        if party in self.unaware:  # what it had told the server before that was put back, it cannot tell again
            lost = {one[:2] for one in books.answers if one not in taken} & gone.keys()
            gone = {identity: state for identity, state in gone.items() if identity not in lost}
            books.answers = [one for one in books.answers if one[:2] not in lost]
            books.ever_sent -= lost
            books.lost |= lost
        assert all(one in taken for one in books.answers if one[:2] in gone), (
            "an answer that no server has was forgotten"
        )
        assert not [cti for _, cti in gone if cti in counted], "a use that counts was forgotten"
        books.forgotten |= gone

    def work(self, tool, name, action, loss=None):
        """Do an action at a meter; `loss` says which of the messages arrives, if not all of it."""
        books, meter = self.books[tool], self.meters[name]
        books.latest = max(books.latest, self.clock_of(tool))

        wrong = []

        def link(message):
            if isinstance(message, TrustUpdate):
                if loss == "message":
                    raise TimeoutError
                answer = meter.learn(message, books.revoked)
                if loss is not None:
                    raise TimeoutError
                return answer
            try:
                return self._carry(tool, meter, message, loss)
            except AssertionError as error:  # for a tool it is only a lost answer
                wrong.append(error)
                raise

        before = len(books.answers)
        try:
            result = self.tool(tool).work(
                name, action, link, now=self.clock_of(tool), key_exchange=action in SWITCHES, settings=None
            )
        except StoreError:
            self._not_kept(tool, before)
            raise
        if wrong:
            raise wrong[0]
        assert result.sent or result.decision in {Decision.REFUSED, Decision.UNDETERMINED}

    def _not_kept(self, tool, before):
        """An answer that could not be written down is as one that never came: the material stays sent."""
        books, held = self.books[tool], self._held(tool)
        lost = [one for one in books.answers[before:] if held.get(one[:2]) is MaterialState.SENT]
        books.answers = [one for one in books.answers if one not in lost]
        books.unanswered |= {one[:2] for one in lost}

    def _carry(self, tool, meter, message, loss):
        first = self._sending(tool, message)
        answer = None if loss == "message" else meter.answer(message)
        if loss is not None:
            # Whether the message or the answer was lost, the tool cannot know.
            spent = self.catalog.get(message.token)
            self.books[tool].unanswered |= {(spent.kid, spent.cti)} if spent else set()
            raise TimeoutError
        self._answered(tool, message, answer, first)
        return answer

    def _sending(self, tool, message):
        """Check what a tool sends, and return the token that it sends for the first time."""
        books, spent = self.books[tool], self.catalog.get(message.token)
        user = self.user_at(tool)
        for material in filter(None, [spent, self.catalog.get(message.reading_key)]):
            identity = material.kid, material.cti
            assert identity in books.granted.get(user, ()), "material of another user"
            assert not books.is_ahead, "the tool has seen a time at which this had expired"
            wanted = permission_for_scope(material.token_type, material.actions)
            assert wanted in self.tool(tool).status(now=self.clock_of(tool)).permissions, "beyond the permissions"
            assert books.latest < material.expires_at + SKEW, "the tool could know that this has expired"
            assert not books.revoked.names(material), "the tool had been told that this is revoked"
        if spent is None or (spent.kid, spent.cti) in books.ever_sent:
            return None
        books.ever_sent.add((spent.kid, spent.cti))
        if spent.token_type == "authorization" or message.action in COUNTED:
            counted = books.counted.setdefault((spent.device, spent.token_type), set())
            counted.add(spent.cti)
            assert len(counted) <= LIMIT, "more uses than are allowed before a sync"
        return spent

    def _answered(self, tool, message, answer, first):
        books, spent = self.books[tool], self.catalog.get(message.token)
        if spent is not None and answer.outcome is not Outcome.REFUSED:
            books.answers.append((spent.kid, spent.cti, answer.to_bytes()))
        if first is not None and answer.outcome is Outcome.REFUSED:
            books.ever_sent.discard((first.kid, first.cti))
            books.counted.get((first.device, first.token_type), set()).discard(first.cti)

    def user_at(self, tool):
        """Return who signed in last at a tool, as far as a sync came."""
        return self.tool(tool).status(now=self.clock_of(tool)).user

    def use_of(self, material):
        """Return the action that material is for."""
        return next(action for action in Action if material.actions >> action & 1)

    def replay(self, token, name, action):
        """Send a token past every tool: what was used before, or what is not for this meter or this action."""
        return self.meters[name].answer(Message(action, token, key_exchange=action in SWITCHES))

    # --- What must hold ---

    def entries(self, party):
        return [json.loads(entry) for entry in self.parts[party][0]._journal.entries(0, 1_000_000)]

    def check_books(self):
        """Ledger and journal of the server agree, entry by entry, and nothing that was taken is lost."""
        with self.parts["server"][1].read() as t:
            ledger = {(bytes(kid).hex(), bytes(cti).hex()) for kid, cti in t.rows("SELECT kid, cti FROM ledger_use")}
        entries = self.entries("server")
        assert not [entry for entry in entries if entry["kind"] == "alarm"]
        spent = {state.name.lower() for state in SPENT}
        uses = [entry for entry in entries if entry["kind"] == "outcome" and entry["state"] in spent and entry["kid"]]
        first = [(entry["kid"], entry["cti"]) for entry in uses if entry["code"] == Code.OK]
        assert len(set(first)) == len(first), "the ledger called two uses the first"
        assert set(first) == ledger
        assert {(entry["kid"], entry["cti"]) for entry in uses} == ledger
        assert ledger <= {(kid.hex(), cti.hex()) for kid, cti in self.done}, "the ledger knows what no device did"
        rows = self.server.outcomes(0, 1_000_000).rows
        assert rows[: len(self.outcomes)] == self.outcomes, "an outcome that was taken has changed"
        self.outcomes = rows

    def heal(self):
        """Bring everybody together: the connection is back, and all clocks are right."""
        for name, books in self.books.items():
            books.behind = 0
            self.open(name)
        # A tool that has seen a later time needs a snapshot in force, or none at all.
        for _ in range(2):
            self.deliver()
            for tool in USERS:
                self.sync(tool)
        self.collect()

    def check_agreement(self):
        """After a sync of all, everybody says the same of what was used."""
        self.check_books()
        said = set()
        for tool, books in self.books.items():
            held = self._held(tool)
            used = {identity for identity, state in held.items() if state in SPENT}
            assert used <= set(self.done), "a tool says used, and no device did it"
            did = set() if books.was_put_back else {one for one in self.done if one in books.ever_sent}
            # Without an answer, and refused later for ever (another meter, a key rotated out): it stays refused.
            refused = {identity for identity in books.unanswered if held.get(identity) is MaterialState.REFUSED}
            assert did - refused <= {
                identity for identity, state in held.items() if state in {*SPENT, MaterialState.SENT}
            }
            rows = [one for _, who, one, _ in self.outcomes if who == tool]
            reported = [(one.kid, one.cti, one.answer) for one in rows if one.state in SPENT and one.kid]
            assert set(reported) == set(books.answers), "an answer that came is not with the server"
            if books.was_put_back:  # what it did since the backup is known to the server, and not to it
                assert used <= {one[:2] for one in reported}
                said |= {one[:2] for one in reported}
                continue
            assert len(reported) == len(books.answers), "an answer is with the server twice"
            assert {one[:2] for one in reported} == used
            lost = {cti.hex() for _, cti in books.lost}
            told = [entry for entry in self.entries(tool) if entry["kind"] in {"used", "replayed"}]
            assert len([entry for entry in told if entry.get("cti", "") not in {"", *lost}]) == len(reported)
            said |= used
        with self.parts["server"][1].read() as t:
            marked = {
                (bytes(kid), bytes(cti)) for kid, cti in t.rows("SELECT kid, cti FROM server_material WHERE used=1")
            }
        assert marked == said
        self._check_manager()
        self._check_logs()

    def _held(self, tool):
        """Return the state of all that a tool holds, and of what it forgot: that never comes back."""
        held, forgotten = self._in_store(tool), self.books[tool].forgotten
        assert held.keys().isdisjoint(forgotten), "what was forgotten came back"
        return held | forgotten

    def _in_store(self, tool):
        with self.parts[tool][1].read() as t:
            return {
                (kid, cti): MaterialState(state)
                for kid, cti, state in t.rows("SELECT kid, cti, state FROM tool_material")
            }

    def _check_manager(self):
        entries = self.entries("manager")
        assert not [entry for entry in entries if entry["kind"] == "alarm"]
        heard = len([entry for entry in entries if entry["kind"] in {"outcome", "outcome_of_lost"}])
        was_put_back = self.server_was_put_back or self.manager_was_put_back
        assert heard == len(self.outcomes) or (was_put_back and heard > len(self.outcomes))
        issued = sorted(entry["cti"] for entry in entries if entry["kind"] == "issued")
        assert issued == sorted(material.cti.hex() for material in self.catalog.values())
        reported = {(one.kid, one.cti) for _, _, one, _ in self.outcomes if one.state in SPENT}
        for record in self.manager.devices():
            meter = self.meters[record.device]
            of_security = {
                identity
                for identity, (who, action, _) in self.done.items()
                if who is meter and action.group is ActionGroup.SECURITY
            }
            if record.device not in self.went_back and not of_security & self.lost:
                assert record.epoch <= meter.epoch
                assert record.epoch == meter.epoch or not of_security <= reported

    def _check_logs(self):
        for party, (part, _, log) in self.parts.items():
            assert log.size == len(part._journal), party
            found = verify(self.folder / f"{party}.log", AUDITOR.public_key, origin=f"utility.example/{party}")
            assert found.size == log.size
            assert log.entries(0, log.size) == part._journal.entries(0, log.size)

    def give(self, devices, token_type, actions, **options):
        """Have something issued: asked for, approved by a second person where that is wanted, issued."""
        with suppress(RequestRefused):
            asked = self.manager.request(
                "olga", devices, token_type=token_type, actions=actions, now=self.now, **options
            )
            if asked.state == "waiting":
                self.manager.approve(asked.id, "otto", now=self.now)
        self.issue()
