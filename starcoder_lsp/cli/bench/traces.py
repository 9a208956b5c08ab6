"""Recorded editing sessions: the edits as a server gets them, and which of them are typing.

A trace is in josephg/editing-traces' format: JSON, gzipped or not, `{startContent, endContent, txns: [{patches:
[[position, deleted, inserted], …]}]}`, positions in Unicode code points, patches applied one after another. A `name`
beside them, which `bench/history_trace.py` writes, is the name of the edited file.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from pathlib import Path, PurePath
from typing import TypeVar

from attrs import field, frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.lsp.client import Change

PAIRS = {"()", "[]", "{}", '""', "''"}
"""The pairs that an editor inserts for one typed bracket or quote, with the cursor between them."""
Patch = tuple[int, int, str]
T = TypeVar("T")
PLAIN_TEXT = "replayed.txt"
"""The document's name if neither the trace nor the user names one."""


@frozen
class Trace:
    """The text at the start, and the transactions, each a sequence of patches. Every patch is inside its text."""

    start: str
    transactions: tuple[tuple[Patch, ...], ...]
    times_s: tuple[float, ...] = ()
    """The times of the transactions, if the trace has them: seconds, never going back."""
    name: str = ""
    """The name of the edited file, if the trace has one."""
    file_name: str = field(default="", eq=False)
    """The name of the trace's own file."""


@frozen
class Edit:
    """One transaction as the server gets it, and the text and the cursor's line and character after it.

    `is_typing` says that it inserts one character, deletes none, and does so where the edit before left the cursor.
    """

    changes: tuple[Change, ...]
    text: str
    line: int
    character: int
    is_typing: bool


@frozen
class Excerpt:
    """A part of a trace: the document's name, which sets its language, its text, and the edits from there on."""

    name: str
    text: str
    edits: Iterable[Edit]


def read_trace(path: Path) -> Trace:
    """Read and check a trace. Raises `CommandError`."""
    try:
        data = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        patches = (tuple((int(at), int(n), str(new)) for at, n, new in txn["patches"]) for txn in data["txns"])
        name = PurePath(str(data.get("name", ""))).name
        trace = Trace(str(data["startContent"]), tuple(patches), _times_of(data["txns"]), name, path.name)
        what = _what_is_wrong(trace)
    except OSError as error:
        what = error.strerror or str(error)
    except (ValueError, KeyError, TypeError, OverflowError, EOFError, zlib.error):
        what = "not an editing trace (startContent and txns with patches are expected)"
    if what:
        message = f"{path}: {what}"
        raise CommandError(message)
    return trace


def _times_of(transactions: list[dict[str, object]]) -> tuple[float, ...]:
    """Return when the transactions came, or nothing if one has no time."""
    try:
        times = [datetime.fromisoformat(str(each["time"])).timestamp() for each in transactions]
    except (ValueError, KeyError, OverflowError):
        return ()
    return tuple(accumulate(times, max))


def _what_is_wrong(trace: Trace) -> str:
    n_characters = len(trace.start)
    for patches in trace.transactions:
        for at, n_deleted, inserted in patches:
            if not 0 <= at <= at + n_deleted <= n_characters:
                return "the trace has a patch outside its text"
            n_characters += len(inserted) - n_deleted
    whole = trace.start + "".join(inserted for patches in trace.transactions for _, _, inserted in patches)
    whole.encode()  # raises ValueError for a lone surrogate
    return "the trace has carriage returns; its lines cannot be counted by \\n alone" if "\r" in whole else ""


def check_range(trace: Trace, path: Path, first: int, n_edits: int) -> int:
    """Return the number of edits from number `first` on, at most `n_edits`. Raises `CommandError` if there are none."""
    n_transactions = len(trace.transactions)
    if not 0 <= first < n_transactions or n_edits < 1:
        message = f"{path} has {n_transactions} edits; there are none to replay from {first} on"
        raise CommandError(message)
    return min(n_edits, n_transactions - first)


def document_name(trace: Trace, name: str | None) -> str:
    """Return the document's name: `name` if the user gave one, else the trace's own. Raises `CommandError`."""
    if name is not None and (name in ("", "..") or "\0" in name or PurePath(name).name != name):
        message = f"--as {name!r}: expected a file name such as main.py"
        raise CommandError(message)
    return name or trace.name or PLAIN_TEXT


def text_before(trace: Trace, first: int) -> str:
    """Return the text before edit number `first`."""
    text = trace.start
    for patches in trace.transactions[:first]:
        for at, n_deleted, inserted in patches:
            text = text[:at] + inserted + text[at + n_deleted :]
    return text


def edits_of(trace: Trace, first: int, n_edits: int) -> Iterator[Edit]:
    """Yield the edits from number `first` on. The first of them is never typing: it has no edit before it."""
    text, cursor = text_before(trace, first), None
    for patches in trace.transactions[first : first + n_edits]:
        is_typing = [(at, n, len(new)) for at, n, new in patches] == [(cursor, 0, 1)]
        changes = []
        for at, n_deleted, inserted in patches:
            changes.append(Change(*place_of(text, at), *place_of(text, at + n_deleted), inserted))
            text = text[:at] + inserted + text[at + n_deleted :]
            cursor = at + (1 if inserted in PAIRS else len(inserted))
        yield Edit(tuple(changes), text, *place_of(text, cursor or 0), is_typing)


def place_of(text: str, at: int) -> tuple[int, int]:
    """Return line and character of an offset in code points."""
    line_start = text.rfind("\n", 0, at) + 1
    return text.count("\n", 0, at), at - line_start


def grouped(measured: Iterable[tuple[bool, T]]) -> dict[str, list[T]]:
    """Group measurements, each with whether its edit was typing, as a report shows them."""
    pairs = list(measured)
    return {
        "all": [value for _, value in pairs],
        "typing": [value for is_typing, value in pairs if is_typing],
        "other": [value for is_typing, value in pairs if not is_typing],
    }
