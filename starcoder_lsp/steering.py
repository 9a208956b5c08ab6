"""Whole lines: a draft that leaves its line open is written again from there on, under a constraint.

The filters judge (`suggestions/postprocess.py`); `suggestions/forks.py` decides where to go on. The model chooses among
the tokens that are allowed, so it writes what is added. The KV cells up to the fork are shared: a further draft costs
the tokens behind it and one more. An engine that cannot constrain its tokens writes one draft, which the filters
shorten or drop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from attrs import evolve, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.engine.engine import (
    Cancellation,
    CompletionOutput,
    Engine,
    Generation,
    GenerationRequest,
    Prompt,
    StopRule,
)
from starcoder_lsp.engine.generation import OnTexts, Piece, generate
from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.forks import Fork, closing, going_on
from starcoder_lsp.suggestions.postprocess import is_whole
from starcoder_lsp.suggestions.stopping import TextEnd

NO_WAY_ON = (StopReason.CANCELLED, StopReason.TIMEOUT, StopReason.LOW_CONFIDENCE)
"""Ends of a draft behind which no other one is written."""
MIN_LEFT_MS = 50.0
"""With less time left no further draft begins. Not measured."""


@frozen
class Writer:
    """What every draft of one request has in common."""

    engine: Engine
    request: GenerationRequest
    piece: Piece
    rule: StopRule
    cancellation: Cancellation
    on_texts: OnTexts

    async def draft(self) -> Generation:
        """Write the first draft. Raises `EngineError`."""
        return await generate(
            self.engine, self.request, self.piece, self.rule, self.cancellation, on_texts=self.on_texts
        )

    async def go_on(self, output: CompletionOutput, at: Fork, left_ms: float) -> Generation:
        """Write on behind a fork of `output`; the first answer is the whole text. Raises `EngineError`."""
        ids, heal = _resumed(self.request.prompt, output, at, self.piece)
        prompt = evolve(self.request.prompt, ids=(*self.request.prompt.ids, *ids), heal=heal, avoid=at.avoid)
        begun = at.kept + at.forced
        n_left = self.request.max_new_tokens - len(ids)
        request = evolve(
            self.request,
            prompt=prompt,
            max_new_tokens=max(1, n_left),
            timeout_ms=left_ms,
            n_answers=1,
            beam_margin_nats=0.0,
        )
        generation = await generate(
            self.engine,
            request,
            self.piece,
            lambda text: self.rule(begun + text),
            self.cancellation,
            on_texts=lambda texts: self.on_texts(tuple(begun + text for text in texts)),
        )
        written = generation.written[0]
        whole = evolve(
            written,
            text=begun + written.text,
            ids=(*ids, *written.ids),
            logprobs=(*output.logprobs[: len(ids)], *written.logprobs),
            first_line_logprob=sum(output.logprobs[: len(ids)]) + written.first_line_logprob,
        )
        return evolve(generation, written=(whole,))


def _resumed(prompt: Prompt, output: CompletionOutput, at: Fork, piece: Piece) -> tuple[tuple[int, ...], bytes]:
    """Return the tokens of an answer up to a fork, and the bytes that must follow them: the rest of what is kept."""
    begun, n_bytes, ids = prompt.heal + at.kept, 0, []
    for token_id in output.ids:
        text = piece(token_id)
        if not begun.startswith(text, n_bytes) or n_bytes + len(text) > len(begun):
            break
        ids.append(token_id)
        n_bytes += len(text)
    return tuple(ids), begun[n_bytes:] + at.forced


async def write_whole(writer: Writer, cursor: CursorContext, normalized: Callable[[bytes], bytes]) -> Generation:
    """Write a draft, and if it is not whole, others: one that goes on, and those that close what is open.

    Return the first whole one in place of the first draft, or the first draft. All costs are counted. `normalized`
    gives a text the line ends that filters know. Raises `EngineError`.
    """
    started = time.perf_counter()
    first = await writer.draft()
    capabilities, draft = writer.engine.capabilities, first.written[0]
    may_steer = capabilities.healing and capabilities.avoidance and writer.request.n_answers == 1
    if not may_steer or normalized(draft.text) != draft.text or draft.stop_reason in NO_WAY_ON:
        return first
    total, drafts = first, [draft]

    async def whole_one(at: Fork | None, behind: CompletionOutput) -> CompletionOutput | None:
        """Write on from a fork; return the new draft, or its part up to what was forced, if that is whole."""
        nonlocal total
        left_ms = writer.request.timeout_ms - (time.perf_counter() - started) * 1000
        if at is None or left_ms < MIN_LEFT_MS or writer.cancellation.is_cancelled:
            return None
        further = await writer.go_on(behind, at, left_ms)
        total, written = _with_cost(total, further), further.written[0]
        drafts.append(written)
        parts = [written, evolve(written, text=at.kept + at.forced, stop_reason=TextEnd.LINE_END)]
        for part in parts[: 2 if at.forced else 1]:
            if part.stop_reason not in NO_WAY_ON and await judged(part):
                return part
        return None

    async def judged(written: CompletionOutput) -> bool:
        """Return whether a draft is whole, false after the deadline."""
        left_s = writer.request.timeout_ms / 1000 - (time.perf_counter() - started)
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await in_background(is_whole, written.text, written.stop_reason, cursor)
        except TimeoutError:
            return False

    if await judged(draft):
        return first
    found = await whole_one(going_on(draft.text, draft.stop_reason, cursor), draft)
    for each in reversed(drafts):
        found = found or await whole_one(closing(each.text, cursor), each)
    return evolve(total, written=(found or draft,))


def _with_cost(first: Generation, further: Generation) -> Generation:
    """Add what a further draft cost; its prompt is the first one's and what was written, which nobody counts twice."""
    return evolve(
        first,
        n_evaluated=first.n_evaluated + further.n_evaluated,
        decode_ms=first.decode_ms + further.prefill_ms + further.decode_ms,
        evaluation_ms=first.evaluation_ms + further.evaluation_ms,
    )
