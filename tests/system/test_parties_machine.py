"""A state machine over all five parties: what is issued, used, lost, replayed, revoked, rotated, replaced, restored, in any order.

`ITRON_CORE_MACHINE` says how many histories are tried, `ITRON_CORE_MACHINE_SHRINKS` that a failing one is made shorter. What must hold is in `parties_world`.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from itron_core import Action
from itron_core.device import Message
from parties_world import (
    COMMANDS,
    DAY,
    KINDS,
    PEOPLE,
    READING,
    SESSION,
    SKEW,
    STOCK,
    SWITCHES,
    USERS,
    WISHES,
    Cut,
    Service,
    World,
)

pytestmark = pytest.mark.slow

HISTORIES = int(os.environ.get("ITRON_CORE_MACHINE", "30"))
STEPS = int(os.environ.get("ITRON_CORE_MACHINE_STEPS", "60"))
SHRINKS = "ITRON_CORE_MACHINE_SHRINKS" in os.environ
# In memory where there is such a folder: a disk's syncs are the subject of other tests.
MEMORY = Path("/dev/shm")

WORK = [*READING, Action.PROGRAM_ENDPOINT, *COMMANDS, Action.CLOSE_SESSION, Action.SET_SECURITY_LEVEL, *SWITCHES]

devices = st.sampled_from(sorted(KINDS))
some_devices = st.lists(devices, min_size=1, max_size=3, unique=True)
tools = st.sampled_from(sorted(USERS))
# Half of the connections hold.
cuts = st.none() | st.tuples(st.integers(0, 12), st.booleans())
losses = st.none() | st.sampled_from(["message", "answer"])
seconds = st.sampled_from([1, 60, SESSION - 1, SESSION, 3_600, DAY, 8 * DAY])


kinds = st.sampled_from(STOCK)


@pytest.fixture(scope="module")
def installed():
    """A folder with all parties set up, to be copied for each history."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        (Path(folder) / "first").mkdir()
        World(Path(folder) / "first").close()
        yield Path(folder)


class Parties(RuleBasedStateMachine):
    """Histories of the five parties."""

    installed: Path
    service = None

    def __init__(self):
        super().__init__()
        folder = Path(tempfile.mkdtemp(dir=self.installed))
        shutil.rmtree(folder)
        shutil.copytree(self.installed / "first", folder)
        self.world = World(folder, self.service)

    def cut(self, at):
        return None if at is None else Cut(self.world, at[0], before=at[1])

    # --- The office ---

    @rule(names=some_devices, kind=kinds, count=st.integers(1, 3))
    def request_approve_issue(self, names, kind, count):
        for _ in range(count):
            self.world.give(names, kind[0], kind[1], **kind[2])

    @rule(at=cuts)
    def deliver(self, at):
        self.world.deliver(self.cut(at))

    @rule(at=cuts)
    def collect(self, at):
        self.world.collect(self.cut(at))

    @rule(algorithm=st.sampled_from(["Ed25519", "ESP256"]), overlap=st.sampled_from([0, 600, 7 * DAY]))
    def rotate_keys(self, algorithm, overlap):
        self.world.rotate(algorithm, overlap)

    @precondition(lambda self: self.world.catalog)
    @rule(data=st.data(), what=st.sampled_from(["token", "token", "device", "key"]))
    def revoke(self, data, what):
        material = data.draw(st.sampled_from(list(self.world.catalog.values())), label="material")
        if what == "token":
            self.world.revoke(tokens=[(material.kid, material.cti)])
        elif what == "device":
            self.world.revoke(devices=[(material.device, material.sequence + 1)])
        elif material.kid != self.world.signer.public_key.kid:
            self.world.revoke(keys=[material.kid])

    # --- The field ---

    @rule(tool=tools, at=cuts)
    def sync(self, tool, at):
        self.world.sync(tool, self.cut(at))
        self.world.check_books()

    @rule(tool=tools)
    def issue_to_sync(self, tool):
        self.world.deliver()
        self.world.sync(tool)

    @rule(tool=tools, at=cuts)
    def report(self, tool, at):
        self.world.report(tool, self.cut(at))

    @rule(tool=tools, name=devices, actions=st.lists(st.sampled_from(WORK), min_size=1, max_size=4), loss=losses)
    def work(self, tool, name, actions, loss):
        for action in actions[:-1]:
            self.world.work(tool, name, action)
        self.world.work(tool, name, actions[-1], loss)

    @precondition(lambda self: self.world.done)
    @rule(tool=tools, data=st.data())
    def work_again_what_was_done(self, tool, data):
        meter, action, _ = data.draw(st.sampled_from(list(self.world.done.values())), label="done")
        self.world.work(tool, meter.name, action)

    @precondition(lambda self: self.world.done)
    @rule(data=st.data(), name=devices, action=st.sampled_from(WORK), same=st.booleans())
    def replay(self, data, name, action, same):
        identity = data.draw(st.sampled_from(list(self.world.done)), label="used")
        (token,) = [token for token, one in self.world.catalog.items() if (one.kid, one.cti) == identity]
        if same:
            meter, action, _ = self.world.done[identity]
            name = meter.name
        self.world.replay(token, name, action)

    @precondition(lambda self: self.world.catalog)
    @rule(data=st.data(), name=devices, action=st.sampled_from(WORK))
    def try_another_device(self, data, name, action):
        others = [token for token, one in self.world.catalog.items() if one.device != name]
        if others:
            self.world.replay(data.draw(st.sampled_from(others), label="token"), name, action)

    @rule(data=st.data(), tool=tools, other=tools, hears=st.booleans(), syncs=st.booleans())
    def revoke_and_try(self, data, tool, other, hears, syncs):
        """What is revoked is not used by who has heard of it, whoever else has not."""
        material = self.unused(data)
        self.world.revoke(tokens=[(material.kid, material.cti)])
        if hears:
            self.world.meters[material.device].hear()
        if syncs:
            self.world.deliver()
            self.world.sync(other)
        for _ in range(3):
            self.world.work(tool, material.device, self.world.use_of(material))

    @rule(data=st.data(), tool=tools, behind=st.sampled_from([0, 30 * DAY]))
    def expire_and_try(self, data, tool, behind):
        """What has expired is not used, also by a tool whose clock is set back."""
        material = self.unused(data)
        self.world.now = max(self.world.now, material.expires_at + SKEW)
        self.world.work(tool, material.device, Action.READ_ENDPOINT)
        self.world.books[tool].behind = behind
        self.world.work(tool, material.device, self.world.use_of(material))

    @rule(tool=tools, name=devices, action=st.sampled_from(WORK), count=st.integers(2, 4), loss=losses)
    def work_on_and_on(self, tool, name, action, count, loss):
        for _ in range(count):
            self.world.work(tool, name, action, loss)
            loss = None

    @rule(tool=tools, name=devices, passed=st.sampled_from([SESSION - 1, SESSION, SESSION + 60]))
    def a_session_ends(self, tool, name, passed):
        self.world.work(tool, name, Action.PROGRAM_ENDPOINT)
        self.world.now += passed
        self.world.meters[name].answer(Message(Action.PROGRAM_ENDPOINT))

    @rule(data=st.data())
    def a_thief_tries_what_is_void(self, data):
        void = [one for one in self.world.catalog.values() if self.world.meters[one.device].is_void(one)]
        if void:
            material = data.draw(st.sampled_from(void), label="void")
            action = self.world.use_of(material)
            self.world.replay(material.token, material.device, action)

    @rule(tool=tools, name=devices, at=cuts)
    def an_answer_and_its_report_are_lost(self, tool, name, at):
        self.world.work(tool, name, Action.DISCONNECT_SERVICE, "answer")
        self.world.report(tool, self.cut(at))
        self.world.work(tool, name, Action.DISCONNECT_SERVICE)

    def unused(self, data):
        unused = [one for one in self.world.catalog.values() if (one.kid, one.cti) not in self.world.done]
        return data.draw(st.sampled_from(unused), label="unused")

    # --- Time, and what breaks ---

    @rule(passed=seconds)
    def time_passes(self, passed):
        self.world.now += passed

    @rule(party=st.sampled_from(["server", *USERS]), age=st.sampled_from([0, 3_600, 8 * DAY]))
    def prune(self, party, age):
        self.world.prune(party, age)

    @rule(tool=tools, behind=st.sampled_from([0, 30 * DAY]), syncs=st.booleans(), name=devices)
    def all_ends_and_is_pruned(self, tool, behind, syncs, name):
        """Also where a tool that still believes in it works on, and reports it."""
        self.world.books[tool].behind = behind
        self.world.now += 8 * DAY
        self.world.prune("server", 0)
        self.world.work(tool, name, Action.DISCONNECT_SERVICE)
        if syncs:
            self.world.sync(tool)
        self.world.prune(tool, 0)
        self.world.report(tool)

    @rule(tool=tools, behind=st.sampled_from([0, 60, 3_600, 30 * DAY]))
    def set_clock_back(self, tool, behind):
        self.world.books[tool].behind = behind

    @rule(tool=tools, name=devices, action=st.sampled_from(WORK), syncs=st.booleans())
    def a_clock_is_ahead_once(self, tool, name, action, syncs):
        """Nothing that expires is used by what has seen a later time; a sync heals it."""
        self.world.be_ahead_once(tool, name)
        self.world.work(tool, name, action)
        if syncs:
            self.world.deliver()
            self.world.sync(tool)
            self.world.work(tool, name, action)

    @rule(tool=tools, user=st.sampled_from(PEOPLE), at=cuts, name=devices, wishes=st.booleans())
    def another_user_signs_in(self, tool, user, at, name, wishes):
        """What the one before was granted is neither seen nor used; each asks anew."""
        self.world.user_of[tool] = user
        self.world.sync(tool, self.cut(at))
        if wishes:
            for token_type, actions in WISHES.items():
                self.world.tool(tool).request_commands(
                    [name], token_type=token_type, actions=actions, now=self.world.clock_of(tool)
                )
            self.world.sync(tool, self.cut(at))
        self.world.work(tool, name, Action.DISCONNECT_SERVICE)

    @rule(tool=tools, at=st.integers(0, 3), name=devices)
    def permissions_are_taken_during_a_sync(self, tool, at, name):
        self.world.take_permissions(tool, at)
        self.world.work(tool, name, Action.DISCONNECT_SERVICE)

    @rule(party=st.sampled_from(["manager", "server", *USERS]))
    def back_up(self, party):
        self.world.back_up(party)

    @precondition(lambda self: "server" in self.world.backups)
    @rule(tool=tools, at=cuts)
    def put_back_server(self, tool, at):
        self.world.put_back_server()
        self.world.sync(tool, self.cut(at))

    @precondition(lambda self: "manager" in self.world.backups)
    @rule(names=some_devices, kind=kinds)
    def put_back_manager(self, names, kind):
        """Nothing of what was lost is given again, and what is issued from now on arrives."""
        self.world.put_back_manager()
        self.world.give(names, kind[0], kind[1], **kind[2])
        self.world.deliver()

    @rule(tool=tools, name=devices)
    def put_back(self, tool, name):
        if tool in self.world.backups:
            self.world.put_back(tool)
            self.world.work(tool, name, Action.DISCONNECT_SERVICE)

    @rule(party=st.sampled_from(["manager", "server", *USERS]))
    def restart(self, party):
        self.world.open(party)

    @rule(name=devices, how=st.sampled_from(["power", "hears"]))
    def meter_restarts_or_hears(self, name, how):
        if how == "power":
            self.world.meters[name].restart()
            self.world.meters[name].reload()
        else:
            self.world.meters[name].hear()

    @rule(name=devices, epoch_rises=st.booleans())
    def replace_device(self, name, epoch_rises):
        self.world.replace(name, epoch_rises=epoch_rises)

    # --- What must hold ---

    @invariant()
    def only_a_tool_s_meter_knows_what_it_did(self):
        for meter in self.world.meters.values():
            state = meter.device.state
            used = {(bytes.fromhex(use.kid), use.sequence) for use in state.uses}
            mine = [one for one, (who, _, _) in self.world.done.items() if who is meter]
            assert used == {(kid, int.from_bytes(cti[8:])) for kid, cti in mine}

    def teardown(self):
        try:
            self.world.heal()
            self.world.check_agreement()
        finally:
            self.world.close()
            shutil.rmtree(self.world.folder)


def check(histories, **parts):
    run_state_machine_as_test(
        type("PartiesHere", (Parties,), parts),
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            # A history takes a while: it is made shorter only where somebody asks for that.
            phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if SHRINKS else [])],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_the_five_parties_agree_whatever_happens(installed):
    check(HISTORIES, installed=installed)


def test_the_five_parties_agree_over_http(installed):
    """The same with a real server on loopback between them: fewer histories, since each message takes longer."""
    pytest.importorskip("uvicorn", reason="no uvicorn: pip install 'itron-core[service]'")
    service = Service()
    try:
        check(-(-HISTORIES // 5), installed=installed, service=service)
        assert service.answered > HISTORIES
    finally:
        service.stop()


def test_a_tool_whose_clock_is_late_syncs_after_a_rotation(installed):
    """The server hands out what a key signed that was delegated since: the tool holds it, and uses it when it may."""
    folder = Path(tempfile.mkdtemp(dir=installed))
    shutil.rmtree(folder)
    shutil.copytree(installed / "first", folder)
    world = World(folder, None)
    try:
        world.now += 8 * DAY
        world.books["t2"].behind = 30 * DAY
        world.rotate("Ed25519", 600)
        world.give(["ert:1"], "secure_command", Action.OPEN_SESSION)
        world.deliver()
        world.sync("t2")
        world.work("t2", "ert:1", Action.OPEN_SESSION)
        world.books["t2"].behind = 0
        world.work("t2", "ert:1", Action.OPEN_SESSION)
        world.heal()
        world.check_agreement()
    finally:
        world.close()
