"""Simulated users of `bench fleet`: each types a part of a trace with its pauses, and requests after each edit.

Our users have a whole session each: windows, debounce, typing through a suggestion, cancels. The others send a prompt
that is split at the cursor in each pause of typing, and cancel the request before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from attrs import define, field

from starcoder_lsp.cli.bench import split
from starcoder_lsp.cli.bench.traces import Edit, Trace, edits_of, text_before
from starcoder_lsp.documents.documents import Edit as DocumentEdit
from starcoder_lsp.engine.engine import Cancellation, EngineError, GenerationRequest
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.session import Session
from starcoder_lsp.settings import Settings

MAX_PAUSE_S = 5.0
"""A longer pause in the trace is cut to this: an idle user shows nothing."""
PAUSE_S = 0.25
"""The pause between edits of a trace without times."""
LAST_ANSWER_S = 120.0
"""The time after the last keystroke at which a missing answer counts as lost. Not measured."""
N_SPLIT_TOKENS = 16


@define
class Tally:
    """The results of a group's requests. Times in milliseconds."""

    requests: int = 0
    answered: int = 0
    without_model: int = 0
    """Answers from an earlier suggestion, for which the engine did nothing."""
    superseded: int = 0
    failed: int = 0
    lost: int = 0
    first_token_ms: list[float] = field(factory=list)
    """The time from the prompt to the first token, for each answer that a user got from the engine."""


@define
class Part:
    """A user's part of a trace: the document's name, the text before, the edits, and a pause before each."""

    name: str
    text: str
    edits: Callable[[], Iterator[Edit]]
    """Returns an iterator over the edits: each holds the whole text after it, and those of 30 users took 7 GB."""
    pauses_s: Sequence[float]


def parts_of(trace: Trace, first: int, n_users: int, n_edits: int) -> Iterator[Part]:
    """Give each user a part of its own, at even distances behind edit `first`."""
    n_left = max(1, len(trace.transactions) - first - n_edits)
    for user in range(n_users):
        start = first + user * n_left // n_users
        pauses_s = [_pause_s(trace, start + n) for n in range(n_edits)]
        edits = partial(edits_of, trace, start, n_edits)
        yield Part(trace.name, text_before(trace, start), edits, pauses_s)


def _pause_s(trace: Trace, number: int) -> float:
    """Return the pause before an edit. Times are whole seconds in some traces: edits of one second share it evenly."""
    if not trace.times_s or number == 0:
        return PAUSE_S
    times, now = trace.times_s, trace.times_s[number]
    n_same = sum(1 for at in times[max(0, number - 20) : number + 20] if int(at) == int(now))
    return min(MAX_PAUSE_S, max(times[number] - times[number - 1], 0) or 1 / max(n_same, 1))


async def ours(part: Part, engine: RemoteEngine, settings: Settings, until_s: float, tally: Tally) -> None:
    """Let a user with a whole session type until the time is over."""
    session = Session(settings=settings)
    session.slot.model = Model.of(engine.prompts, engine)
    uri = f"file:///{id(part)}/{quote(part.name)}"
    session.texts.encoding = "utf-32"
    session.documents.open(uri, "", 1, part.text)
    asked: set[asyncio.Task[None]] = set()

    async def ask(edit: Edit) -> None:
        tally.requests += 1
        n_failed = session.metrics.requests.failed
        try:
            completion = await session.answering.complete(uri, edit.line, edit.character, automatic=True)
        except EngineError:
            tally.failed += session.metrics.requests.failed - n_failed
            return
        if completion is None:
            tally.superseded += 1
            return
        tally.answered += 1
        if completion.generation is None:
            tally.without_model += 1
        else:
            tally.first_token_ms.append(completion.timings.prefill_ms)

    await asyncio.sleep(random.random())  # noqa: S311  users do not begin in the same moment
    version = 1
    for edit, pause_s in zip(part.edits(), part.pauses_s, strict=True):
        if time.monotonic() > until_s:
            break
        await asyncio.sleep(pause_s)
        version += 1
        changes = [
            DocumentEdit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes
        ]
        session.documents.change(uri, version, changes)
        task = asyncio.ensure_future(ask(edit))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await _settle(asked, tally)
    session.stop()


async def split_at_cursor(part: Part, engine: RemoteEngine, settings: Settings, until_s: float, tally: Tally) -> None:
    """Let a user with prompts that are split at the cursor type until the time is over."""
    uri, piece = f"file:///{id(part)}/{quote(part.name)}", engine.prompts.tokenizer.piece
    prompts = split.SplitPrompts(engine.prompts, settings, uri)
    asked: set[asyncio.Task[None]] = set()
    cancellation = Cancellation()

    async def ask(edit: Edit, mine: Cancellation) -> None:
        tally.requests += 1
        await asyncio.sleep(settings.debounce.ms / 1000)
        if mine.is_cancelled:
            tally.superseded += 1
            return
        prompt = await asyncio.to_thread(prompts.after, edit)
        request = GenerationRequest(uri, prompt, N_SPLIT_TOKENS, settings.completion.timeout_ms, ends_with_line=True)
        try:
            generation = await generate(engine, request, piece, lambda t: "line" if b"\n" in t else None, mine)
        except EngineError:
            tally.failed += 1
            return
        if mine.is_cancelled:
            tally.superseded += 1
        else:
            tally.answered += 1
            tally.first_token_ms.append(generation.prefill_ms)

    await asyncio.sleep(random.random())  # noqa: S311  as above
    for edit, pause_s in zip(part.edits(), part.pauses_s, strict=True):
        if time.monotonic() > until_s:
            break
        await asyncio.sleep(pause_s)
        cancellation.cancel()
        cancellation = Cancellation()
        task = asyncio.ensure_future(ask(edit, cancellation))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await _settle(asked, tally)


async def _settle(asked: set[asyncio.Task[None]], tally: Tally) -> None:
    """Wait for the last answers, and count those that do not come."""
    if asked:
        _done, pending = await asyncio.wait(list(asked), timeout=LAST_ANSWER_S)
        tally.lost += len(pending)
        for task in pending:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*pending, return_exceptions=True)
