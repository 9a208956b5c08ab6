"""Edits as editors send them, and the text that an independent splice makes of them.

A case is `{"encoding", "language", "text", "steps", "every", "look"}`; texts are compared after every so many
notifications, from the one numbered `look` on. A step is a list of changes of one notification, each `[line, character,
end_line, end_character, text]`, or a whole text, or `{"reopen": text}`, or `{"typed": [line, character, text]}`: one
notification a character.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.e2e.conftest import notification
from tests.fuzz.peer import FaultError, Peer

UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
PIECES = [
    "x", "value", " = ", "1", "(", ")", "[", "]", "{", "}", '"', "'", "# ", "    ", "\t", "def f(a):", "return ", ".",
    "é", "日本", "😀", "👩‍💻", "e\u0301", "\u2028", "\u0085", "\f", "\v", "\ufeff", "\u202e", "}\n\n\n", "/*", "*/",
    "\n", "\n", "\r\n", "\r",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
POSITION = st.tuples(st.integers(0, 30), st.one_of(st.integers(0, 12), st.sampled_from([80, 2**31 - 1])))
CHANGES = st.lists(st.tuples(POSITION, POSITION, TEXTS), min_size=1, max_size=4)
TYPED = st.lists(st.tuples(POSITION, st.none(), st.sampled_from(PIECES)), min_size=1, max_size=1)
LINES = ["def read(path, mode='r'):\n    return open(path, mode)\n", "// 日本 = 😀;\r\n", "    x += [1, {2: 3}]"]
KEYSTROKES = st.tuples(st.integers(0, 30), st.integers(0, 80), st.one_of(TEXTS, st.sampled_from(LINES))).map(
    lambda at: {"typed": list(at)}
)
N_AT_ONCE = 50
"""The number of notifications in one write."""
STEPS = st.one_of(KEYSTROKES, TYPED, TYPED, TYPED, CHANGES, CHANGES, TEXTS, TEXTS.map(lambda text: {"reopen": text}))


def cases(encoding: str, min_steps: int, max_steps: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for cases of so many notifications, with positions in `encoding`."""
    return st.fixed_dictionaries(
        {
            "encoding": st.just(encoding),
            "language": st.sampled_from(["plaintext", "python", "javascript", "markdown"]),
            "text": TEXTS,
            "steps": st.lists(STEPS, min_size=min_steps, max_size=max_steps).map(_plain),
            "every": st.sampled_from([1, 10, 50, 200]),
            "look": st.integers(0, 199),
        }
    )


def _plain(steps: list[Any]) -> list[Any]:
    """Turn drawn steps into JSON: an insertion has one position, and a range goes forwards."""
    plain: list[Any] = []
    for step in steps:
        if isinstance(step, list):
            spans = [(sorted([start, end or start]), text) for start, end, text in step]
            plain.append([[*start, *end, text] for (start, end), text in spans])
        else:
            plain.append(step)
    return plain


def check(peer: Peer, case: dict[str, Any]) -> int:
    """Send the edits, compare texts after every step, and return how many changes were sent. Raises `FaultError`."""
    uri, text, n_changes = f"untitled:{peer.new_id()}.txt", case["text"], 0
    peer.open(uri, text, case["language"])
    version = 1
    sent: list[object] = []
    for number, step in enumerate(_notifications(case)):
        if isinstance(step, dict):
            text, version = step["reopen"], 1
            document = {"uri": uri, "languageId": case["language"], "version": version, "text": text}
            sent.append(notification("textDocument/didClose", {"textDocument": {"uri": uri}}))
            sent.append(notification("textDocument/didOpen", {"textDocument": document}))
            continue
        version += 1
        changes = [{"text": step}] if isinstance(step, str) else [change_of(*change) for change in step]
        identifier = {"uri": uri, "version": version}
        sent.append(notification("textDocument/didChange", {"textDocument": identifier, "contentChanges": changes}))
        n_changes += len(changes)
        for change in [step] if isinstance(step, str) else step:
            text = change if isinstance(change, str) else spliced(text, *change, peer.encoding)
        is_compared = (number + case["look"]) % case["every"] == 0
        if is_compared or len(sent) >= N_AT_ONCE:
            peer.send(*sent)
            sent.clear()
        if is_compared:
            compare(peer, uri, text)
    peer.send(*sent)
    compare(peer, uri, text)
    peer.close_document(uri)
    peer.settle()
    return n_changes


def _notifications(case: dict[str, Any]) -> Iterator[Any]:
    """Yield the steps; typed text becomes one change a character."""
    for step in case["steps"]:
        if not isinstance(step, dict) or "typed" not in step:
            yield step
            continue
        line, character, text = step["typed"]
        for each in text:
            yield [[line, character, line, character, each]]
            character += len(_encoded(each, case["encoding"])) // UNITS[case["encoding"]][1]
            if each in "\r\n":
                line, character = line + 1, 0


def compare(peer: Peer, uri: str, text: str) -> None:
    """Compare the end of the server's text with `text`. Raises `FaultError`."""
    lines = _lines(text)
    asked_s = time.monotonic()
    seen = peer.explain(uri, len(lines) - 1, len(_encoded(lines[-1], peer.encoding)) // UNITS[peer.encoding][1])
    if seen is None or "prompt" not in seen:
        message = f"nothing is explained after {time.monotonic() - asked_s:.1f} s"
        raise peer.fault(message)
    shown, wanted = _before_the_cursor(seen["prompt"]), _normal(text)
    is_whole = all("whole file" in each["why"] for each in seen["segments"] if each["kind"] == "prefix")
    if shown != wanted if is_whole else not wanted.endswith(shown[-100:]):
        message = f"the server's text ends with {shown[-200:]!r}, the editor's with {wanted[-200:]!r}"
        raise FaultError(message)


def spliced(text: str, line: int, character: int, end_line: int, end_character: int, new: str, encoding: str) -> str:
    """Return `text` with a range replaced, as the protocol says: lines end at \\n, \\r\\n and \\r only, a character
    beyond a line's end counts as its end, and a line beyond the last one as the end of the text.
    """
    return (
        text[: _offset(text, line, character, encoding)]
        + new
        + text[_offset(text, end_line, end_character, encoding) :]
    )


def _offset(text: str, line: int, character: int, encoding: str) -> int:
    pieces = re.split("(\r\n|\r|\n)", text)  # lines, and line ends between them
    if line > len(pieces) // 2:
        return len(text)
    before = sum(map(len, pieces[: 2 * line]))
    codec, size = UNITS[encoding]
    n_units = 0
    for index, each in enumerate(pieces[2 * line]):
        n_units += len(each.encode(codec)) // size
        if n_units > character:
            return before + index
    return before + len(pieces[2 * line])


def _lines(text: str) -> list[str]:
    return re.split("\r\n|\r|\n", text)


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(UNITS[encoding][0])


def _normal(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


def _before_the_cursor(prompt: str) -> str:
    prefix, _, rest = prompt.removeprefix("<fim_prefix>").partition("<fim_suffix>")
    return _normal(prefix + rest.partition("<fim_middle>")[2])


def change_of(line: int, character: int, end_line: int, end_character: int, text: str) -> dict[str, Any]:
    """Return a change of the protocol."""
    start, end = {"line": line, "character": character}, {"line": end_line, "character": end_character}
    return {"range": {"start": start, "end": end}, "text": text}
