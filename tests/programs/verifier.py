"""Serve the example of docs/your-service.md: the keys' URL and the time as arguments, its own URL as output."""

import re
import socket
import sys
from pathlib import Path

import uvicorn

from itron_core.keys_over_http import KeysOverHttp
from itron_core.service.metrics import CallMetrics

PAGE = (Path(__file__).parents[2] / "docs" / "your-service.md").read_text()

code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "create_verifier" in block)
page = {}
exec(compile(code, "docs/your-service.md", "exec"), page)  # the page is the program
url, now = sys.argv[1:]
app = page["create_verifier"](KeysOverHttp(url), CallMetrics(), clock=lambda: float(now))
listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn's own sockets have it
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off")).run([listening])
