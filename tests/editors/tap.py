"""`tap.py LOG COMMAND...` runs a language server, and records the messages between an editor and the server.

A line of JSON for each message: `{"from": "client" | "server", "message": ...}`, and before them one with the process
id of the server, `{"from": "tap", "message": PID}`. While the file `LOG.server` exists, the next answer of the model
and all later messages are held back, as if the model were slow. `LOG.client` does the same with requests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

POLL_S = 0.01
WRITING = ("textDocument/inlineCompletion", "textDocument/completion", "codeAction/resolve")


def forward(source: BinaryIO, target: BinaryIO, note: Callable[[Any], None]) -> None:
    """Forward message by message. A message is recorded before it is sent on."""
    while header := source.readline():
        head = [header]
        while head[-1] not in (b"\r\n", b""):
            head.append(source.readline())
        length = next(int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length"))
        body = source.read(length)
        note(json.loads(body))
        target.write(b"".join(head) + body)
        target.flush()
    target.close()


def main() -> None:
    path, command = Path(sys.argv[1]), sys.argv[2:]
    lock, request_ids = threading.Lock(), set[object]()
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  our own program
    assert server.stdin is not None
    assert server.stdout is not None

    def write(sender: str, message: Any) -> None:
        with lock, path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"from": sender, "message": message}) + "\n")

    def wait(sender: str) -> None:
        while path.with_suffix(f".{sender}").exists():
            time.sleep(POLL_S)

    def of_client(message: Any) -> None:
        write("client", message)
        if message.get("method") in WRITING:
            request_ids.add(message["id"])
            wait("client")

    def of_server(message: Any) -> None:
        write("server", message)
        if message.get("result") and message["id"] in request_ids:
            wait("server")

    write("tap", server.pid)
    to_server = threading.Thread(target=forward, args=(sys.stdin.buffer, server.stdin, of_client), daemon=True)
    to_server.start()
    forward(server.stdout, sys.stdout.buffer, of_server)
    os._exit(server.wait())  # a thread is still reading standard input


if __name__ == "__main__":
    main()
