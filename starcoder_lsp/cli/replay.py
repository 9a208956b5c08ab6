"""`starcoder-lsp bench replay TRACE`: a recorded editing session; a completion is asked for after each edit.

The trace is josephg/editing-traces' format: gzipped JSON, `{startContent, endContent, txns: [{patches: [[position,
deleted, inserted], …]}]}`, positions in Unicode code points, the patches of a transaction applied one after another.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.progress import track
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.lsp.client import Answer, Change, connect

PAIRS = {"()", "[]", "{}", '""', "''"}
"""What an editor inserts for one typed bracket or quote: the cursor is in the middle."""
URI_NAME = "replayed.rs"


@frozen
class Edit:
    """One transaction as the server gets it, where the cursor is after it, and whether it is one typed character."""

    changes: tuple[Change, ...]
    line: int
    character: int
    is_typing: bool


def read_trace(path: Path) -> tuple[str, list[list[tuple[int, int, str]]]]:
    """The text at the start and the patches of each transaction. Raises `CommandError`."""
    try:
        trace = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        transactions = [[(int(at), int(n), str(new)) for at, n, new in txn["patches"]] for txn in trace["txns"]]
        return str(trace["startContent"]), transactions
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
    except (ValueError, KeyError, TypeError, EOFError):
        message = f"{path}: not an editing trace (startContent and txns with patches are expected)"
    raise CommandError(message)


def place_of(text: str, at: int) -> tuple[int, int]:
    """Line and character of a code point's offset."""
    line_start = text.rfind("\n", 0, at) + 1
    return text.count("\n", 0, at), at - line_start


def edits_of(text: str, transactions: Sequence[list[tuple[int, int, str]]]) -> Iterator[Edit]:
    """The transactions as edits of `text`. Raises `CommandError` where one is outside the text."""
    for patches in transactions:
        changes, cursor = [], 0
        for at, n_deleted, inserted in patches:
            if not 0 <= at <= at + n_deleted <= len(text):
                message = "the trace has a patch outside its text"
                raise CommandError(message)
            changes.append(Change(*place_of(text, at), *place_of(text, at + n_deleted), inserted))
            text = text[:at] + inserted + text[at + n_deleted :]
            cursor = at + (1 if inserted in PAIRS else len(inserted))
        is_typing = len(patches) == 1 and patches[0][1] == 0 and len(patches[0][2]) == 1
        yield Edit(tuple(changes), *place_of(text, cursor), is_typing)


def text_after(text: str, transactions: Sequence[list[tuple[int, int, str]]]) -> str:
    """The text that the transactions make of `text`."""
    for patches in transactions:
        for at, n_deleted, inserted in patches:
            text = text[:at] + inserted + text[at + n_deleted :]
    return text


async def play(
    text: str, edits: Sequence[Edit], settings: dict[str, Any], root: Path, console: Console
) -> list[Answer]:
    """Send the edits one by one and ask after each."""
    uri = (root / URI_NAME).as_uri()
    answers = []
    async with connect(settings, root, encoding="utf-32") as client:
        for message in client.messages:
            raise CommandError(message)
        client.open(uri, "", text)
        for edit in track(edits, "replaying", console=console, transient=True):
            client.change(uri, edit.changes)
            answers.append(await client.complete(uri, edit.line, edit.character))
    return answers


def summary(edits: Sequence[Edit], answers: Sequence[Answer]) -> dict[str, Any]:
    """Prompt tokens evaluated and latency, of all edits, of typed characters, and of the others."""
    pairs = list(zip(edits, answers, strict=True))
    groups = {
        "all": answers,
        "typing": [answer for edit, answer in pairs if edit.is_typing],
        "other": [answer for edit, answer in pairs if not edit.is_typing],
    }
    return {name: _figures(group) for name, group in groups.items()}


def _figures(answers: Sequence[Answer]) -> dict[str, Any]:
    if not answers:
        return {"edits": 0}
    latencies = sorted(answer.elapsed_ms for answer in answers)
    return {
        "edits": len(answers),
        "shown": sum(bool(answer.text) for answer in answers),
        "evaluatedMean": round(fmean(answer.n_evaluated for answer in answers), 2),
        "reusedMean": round(fmean(answer.n_reused for answer in answers), 2),
        "latencyMsP50": round(latencies[len(latencies) // 2], 1),
        "latencyMsP95": round(latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))], 1),
    }


def replay(trace: Path, *, first: int, n_edits: int, model: str | None, as_json: bool) -> int:
    """Replay `n_edits` edits from number `first` on and report."""
    start, transactions = read_trace(trace)
    if not 0 <= first < len(transactions) or n_edits < 1:
        message = f"{trace} has {len(transactions)} edits; there are none from {first} on"
        raise CommandError(message)
    text = text_after(start, transactions[:first])
    edits = list(edits_of(text, transactions[first : first + n_edits]))
    settings: dict[str, Any] = {"debounce": {"mode": "off"}, "completion": {"maxTokens": 16}}
    if model:
        settings["model"] = {"path": model}
    console = Console(stderr=as_json)
    figures = summary(edits, asyncio.run(play(text, edits, settings, trace.resolve().parent, console)))
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        console.print(table_of(figures))
    return 0


def table_of(figures: dict[str, Any]) -> Table:
    """The figures for a terminal."""
    table = Table(title="Prompt tokens evaluated per edit, and time to the answer")
    for name in ("edits", "number", "with ghost text", "evaluated, mean", "reused, mean", "ms, p50", "ms, p95"):
        table.add_column(name, justify="left" if name == "edits" else "right")
    for name, row in figures.items():
        table.add_row(name, *(str(value) for value in row.values()))
    return table
