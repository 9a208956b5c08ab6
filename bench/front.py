"""Measure the milliseconds that the front adds to a message, and to the start: `python bench/front.py`.

Round trips of `starcoder/alive` and the time from start to the reply to `initialize` are measured through the front and
without it, in turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from starcoder_lsp.front.framing import Frames, framed
from starcoder_lsp.percentile import percentile

N_ROUND_TRIPS = 2000
N_STARTS = 5
PROGRAMS = {"front": ["-m", "starcoder_lsp"], "session alone": ["-m", "starcoder_lsp.lsp.run"]}


class Server:
    """A server that has answered `initialize` after `start_ms`."""

    def __init__(self, arguments: list[str]) -> None:
        started = time.perf_counter()
        self.process = subprocess.Popen(  # noqa: S603 -- ours
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.frames = Frames(self.process.stdout.read)  # type: ignore[union-attr]
        self.ask("initialize", {"processId": None, "capabilities": {}})
        self.start_ms = (time.perf_counter() - started) * 1000

    def ask(self, method: str, params: object = None) -> float:
        """Return the milliseconds until the reply."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        started = time.perf_counter()
        self.process.stdin.write(framed(json.dumps(message).encode()))  # type: ignore[union-attr]
        while json.loads(self.frames.read() or b"{}").get("id") != 1:
            pass
        return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure and print."""
    starts: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(N_STARTS):
        for name, arguments in PROGRAMS.items():
            server = Server(arguments)
            starts[name].append(server.start_ms)
            server.process.kill()
            server.process.wait()
    servers = {name: Server(arguments) for name, arguments in PROGRAMS.items()}
    trips: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(N_ROUND_TRIPS):
        for name, server in servers.items():
            trips[name].append(server.ask("starcoder/alive"))
    for server in servers.values():
        server.process.kill()
    for name in PROGRAMS:
        p50, p95 = (percentile(trips[name], share) for share in (0.5, 0.95))
        print(f"{name:14} start {min(starts[name]):5.0f} ms   round trip p50 {p50:.3f} ms, p95 {p95:.3f} ms")


if __name__ == "__main__":
    main()
