"""Typing faster than the model: each request has one reply, and each suggestion fits the text of its request."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from starcoder_lsp.documents.text import Text, is_inside_character

from .conftest import CODE, CURSOR, Start, Wire, completion_params, notification, request

URI = "file:///typed.{}"
OTHER = "file:///other.py"
TYPED = "\n\ndef total(values):\n    result = sum(values)\n    return result * (1 + x['é'])\n"
TEXTS = {
    "py": "import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n\n\n" * 10,
    "js": "// ünï\r\nfunction f(a) {\r\n  return a😀;\r\n}\r\n" * 10,
}
PIECES = ["()", "[]", "''", "a", "self.", "\n    ", "é", "😀"]
N_EDITS = 150
CANCELLED = -32800


class Typist:
    """A client that edits a text at random, and keeps its own copy."""

    def __init__(self, wire: Wire, suffix: str, rng: random.Random) -> None:
        self.wire, self.rng, self.uri = wire, rng, URI.format(suffix)
        self.text = Text.from_str(TEXTS[suffix])
        self.at = self.text.line_starts[self.text.n_lines // 2]
        self.version = 1
        wire.open(self.uri, TEXTS[suffix], {"py": "python", "js": "javascript"}[suffix])

    def place(self) -> tuple[int, int]:
        return self.text.position_of(self.at, "utf-16")

    def replace(self, start: int, end: int, new: str) -> None:
        """Replace bytes, and put the cursor behind them, or between two brackets that an editor would close."""
        first, last = (self.text.position_of(byte, "utf-16") for byte in (start, end))
        between = {"start": position(first), "end": position(last)}
        self.version += 1
        document = {"uri": self.uri, "version": self.version}
        changes = [{"range": between, "text": new}]
        self.wire.send(notification("textDocument/didChange", {"textDocument": document, "contentChanges": changes}))
        self.text = self.text.splice(start, end, new.encode())
        self.at = start + len(new.encode()) - (new in ("()", "[]", "''"))

    def edit(self, number: int) -> None:
        """Type mostly, delete sometimes, jump now and then."""
        if self.rng.random() < 0.03:
            self.at = self.rng.randrange(len(self.text.data))
        while is_inside_character(self.text.data, self.at) or self.text.data[self.at - 1 : self.at] == b"\r":
            self.at += 1
        if self.rng.random() < 0.1 and self.at > 4:
            start = self.at - 1
            while is_inside_character(self.text.data, start) or self.text.data[start - 1 : start] == b"\r":
                start -= 1  # no position is inside a character or a line end
            self.replace(start, self.at, "")
        else:
            piece = self.rng.choice(PIECES) if self.rng.random() < 0.3 else TYPED[number % len(TYPED)]
            self.replace(self.at, self.at, piece)

    def accept(self, item: dict[str, Any]) -> None:
        assert item["range"]["start"] == position(self.place())
        assert item["range"]["end"]["line"] == item["range"]["start"]["line"]
        end = item["range"]["end"]
        self.replace(self.at, self.text.byte_at(end["line"], end["character"], "utf-16"), item["insertText"])


def position(place: tuple[int, int]) -> dict[str, int]:
    return {"line": place[0], "character": place[1]}


@pytest.mark.parametrize(("suffix", "delay_ms"), [("py", 0), ("js", 0), ("py", 20), ("js", 20)])
def test_each_request_has_one_reply(wire: Start, suffix: str, delay_ms: int) -> None:
    rng = random.Random(f"{suffix} {delay_ms}")
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": delay_ms}, "completion": {"maxTokens": 24}})
    server.model_is_loaded()
    typist = Typist(server, suffix, rng)
    for number in range(N_EDITS):
        typist.edit(number)
        params = completion_params(typist.uri, *typist.place(), rng.choice([1, 2, 2, 2]))
        server.send(request(number, "textDocument/inlineCompletion", params))
        if rng.random() < 0.3:
            server.send(notification("$/cancelRequest", {"id": number}))
        if rng.random() < 0.2:
            items = (server.reply(number).get("result") or {}).get("items", [])
            for item in items[:1]:
                typist.accept(item)
    replies = [server.reply(number) for number in range(N_EDITS)]
    assert all("result" in reply or reply["error"]["code"] == CANCELLED for reply in replies)
    came = Counter(message["id"] for message in server.came if "method" not in message and "id" in message)
    assert {came[number] for number in range(N_EDITS)} == {1}
    requests = server.call("at last", "starcoder/metrics")["result"]["requests"]
    assert requests["total"] == N_EDITS == sum(count for name, count in requests.items() if name != "total")
    assert requests["failed"] == 0
    assert requests["answered"] + requests["empty"] > 0
    server.open(OTHER, CODE)
    assert server.complete("still here", OTHER, *CURSOR)["result"]["items"]
    assert server.stop() == 0
    assert server.errors == []
