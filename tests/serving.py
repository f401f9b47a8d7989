"""A real HTTP server in a thread, for an app of the tests."""

import threading
import time


class Running:
    """A server on a port of its own, in a thread; under a guard, if connections have limits."""

    def __init__(self, app, connections=None):
        import asyncio
        import socket

        import uvicorn

        from itron_core.service.guard import Guard, guarded_protocol, guarded_socket

        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn's own sockets have it
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        more = {}
        self.guard = None
        if connections is not None:
            self.guard = Guard(connections)
            listening = guarded_socket(listening, self.guard)
            more = {"http": guarded_protocol(self.guard), "loop": "asyncio"}
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **more))

        async def serve():
            watching = asyncio.ensure_future(self.guard.watch()) if self.guard else None
            await self.server.serve([listening])
            if watching:
                watching.cancel()
            listening.close()

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
