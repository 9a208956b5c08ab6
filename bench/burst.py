"""Measure a burst of 500 requests for 20 documents, in milliseconds: `python bench/burst.py`.

The report has the time to the last reply, and that of `starcoder/metrics` meanwhile. Only the newest request of a
document is worked on, few at once, and none that has waited for too long (`session/admission.py`); the others are
answered `null`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from starcoder_lsp.front.framing import Frames, framed
from starcoder_lsp.percentile import percentile

N_DOCUMENTS = 20
N_REQUESTS = 500
N_FIRST_LINE = 20
PACKAGE = Path(__file__).parents[1] / "starcoder_lsp"


class Server:
    """A server, and its replies with the time of each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "starcoder_lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.replies: SimpleQueue[tuple[float, dict[str, Any]]] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        frames = Frames(self.process.stdout.read)  # type: ignore[union-attr]  # a pipe
        while body := frames.read():
            message = json.loads(body)
            if "method" not in message:
                self.replies.put((time.perf_counter(), message))

    def send(self, method: str, params: object, msg_id: object = None) -> float:
        """Send a request, or a notification if it has no id; return the time."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        now = time.perf_counter()
        self.process.stdin.write(framed(json.dumps(message if msg_id is None else {**message, "id": msg_id}).encode()))  # type: ignore[union-attr]  # a pipe
        return now

    def load(self) -> None:
        """Initialize, and wait for the model."""
        self.send("initialize", {"processId": None, "capabilities": {}}, 0)
        self.replies.get()
        self.send("initialized", {})
        model = None
        while model is None:
            self.send("starcoder/metrics", None, 0)
            model = self.replies.get()[1]["result"]["model"]


def main() -> None:
    """Measure and print."""
    server = Server()
    server.load()
    uris = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: path.stat().st_size)[-N_DOCUMENTS:]:
        uris.append(path.as_uri())
        document = {"uri": uris[-1], "languageId": "python", "version": 1, "text": path.read_text("utf-8")}
        server.send("textDocument/didOpen", {"textDocument": document})
    sent_at = {}
    for number in range(N_REQUESTS):
        position = {"line": N_FIRST_LINE + number // N_DOCUMENTS, "character": 0}
        params = {
            "textDocument": {"uri": uris[number % N_DOCUMENTS]},
            "position": position,
            "context": {"triggerKind": 2},
        }
        sent_at[number] = server.send("textDocument/inlineCompletion", params, number)
    first, metrics_ms, reply_ms = min(sent_at.values()), [], defaultdict[str, list[float]](list)
    waiting = set(sent_at)
    asked_at = server.send("starcoder/metrics", None, "metrics")
    while waiting:
        at, reply = server.replies.get()
        if reply["id"] == "metrics":
            metrics_ms.append((at - asked_at) * 1000)
            asked_at = server.send("starcoder/metrics", None, "metrics")
            continue
        waiting.discard(reply["id"])
        result = reply.get("result")
        outcome = "with items" if result and result["items"] else "null" if result is None else "empty"
        reply_ms[outcome].append((at - first) * 1000)
    server.process.kill()
    last_ms = max(ms for each in reply_ms.values() for ms in each)
    print(f"{N_REQUESTS} requests, {N_DOCUMENTS} documents: last reply after {last_ms:.0f} ms")
    for name, each in sorted(reply_ms.items()):
        p50, p95, last = percentile(each, 0.5), percentile(each, 0.95), max(each)
        print(f"{len(each)} {name}: ms p50 {p50:.0f}, p95 {p95:.0f}, last {last:.0f}")
    median_ms, max_ms = percentile(metrics_ms, 0.5), max(metrics_ms)
    print(f"metrics meanwhile: {len(metrics_ms)}, median {median_ms:.1f} ms, max {max_ms:.1f} ms")


if __name__ == "__main__":
    main()
