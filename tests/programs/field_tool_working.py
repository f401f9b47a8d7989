"""Sync, work and prune with a field tool, until it is killed or nothing is left to send."""

import os
import pickle
import random
import signal
from pathlib import Path

from itron_core import Action
from itron_core.device import Device
from itron_core.field_tool import FieldTool
from itron_core.stores import open_store
from itron_core.tools_server import ToolsServer
from watched_store import WatchedStore


class Points:
    "Where a child may kill itself: just before and after each commit, or in the way to a device."

    def __init__(self, rng, place):
        self.place, self.left = place, rng.randrange(1, 50 if place == "store" else 10)

    def pass_by(self, here):
        self.left -= here == self.place
        if here == self.place and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def linked(path, ring, points):
    def answer(message):
        device = Device.from_bytes(path.read_bytes(), keyring=ring)
        said = device.answer(message, uptime=device.state.uptime + 1)
        part = path.with_suffix(".part")
        part.write_bytes(device.to_bytes())
        points.pass_by("link")
        part.replace(path)
        points.pass_by("link")
        return said

    return answer


def work(folder, url, now, seed, place):
    folder, rng = Path(folder), random.Random(seed)
    points = Points(rng, place)
    ring = pickle.loads((folder / "keyring").read_bytes())
    server = ToolsServer(open_store(folder / "server.db"), ring)
    tool = FieldTool(open_store(url), ring, "t1")
    tool._store = WatchedStore(tool._store, *[lambda: points.pass_by("store")] * 2)
    print("ready", flush=True)
    while True:
        tool.sync(server, "ann", now=now, page=3)
        for path in rng.sample(sorted(folder.glob("*.device")), 3):
            action = rng.choice([Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE, Action.PROGRAM_ENDPOINT])
            result = tool.work(path.stem.replace("-", ":"), action, linked(path, ring, points), now=now)
            print(len(result.answers), flush=True)
        if rng.random() < 0.5:
            tool.prune(before=now, now=now)
            server.prune(before=now, now=now)
        rest = tool.current_commands(now=now)
        if not any(line.state in {1, 2} for line in rest if line.sequence):
            break
