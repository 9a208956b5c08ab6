"""The pipeline from a keystroke to suggestions, one stage a line: the first file to read.

`Snapshot -> CursorContext, Window -> Prompt -> Generation -> Completion`. Each stage returns a frozen value made from
the earlier ones. Runs on the event loop, which awaits the background thread and the engine. Does not use the protocol.
"""

from __future__ import annotations

import asyncio
import time

from attrs import evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.black_box import working_on
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, Generation, GenerationRequest, Prompt, Sampling
from starcoder_lsp.engine.generation import OnTexts
from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.steering import Writer, write_whole
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.postprocess import Effect, FilterEffect, is_postprocessed, postprocess, prepare
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion

BEAM_MARGIN_NATS = 1.0
"""If the two likeliest first tokens are within this margin, decode both to the end of the first line and keep the
likelier (a beam of 2).

Happens at 25% of positions. With it 22.5% of rests of lines are exact, without it 20.5%: `bench/stages.py`. On a CPU
two tokens take 1.6 to 1.8 times as long as one (`bench/drafts.py --decode`). Other margins are not measured.
"""
MAX_LATE_S = 0.08
"""The time after the deadline in which the text so far may still become a suggestion. Not measured."""


@frozen
class Timings:
    """The duration of each stage in milliseconds; of the filters, all drafts together."""

    window_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    postprocess_ms: float = 0.0
    total_ms: float = 0.0


@frozen
class Item:
    """One suggestion: `text` replaces `n_replaced_bytes` after the cursor."""

    text: str
    n_replaced_bytes: int = 0


@frozen
class Completion:
    """The suggestions at `cursor_byte` of `snapshot`, the best first, or a `reason` why there are none.

    `filters` has the effects of the filters on the model's first answer.
    """

    snapshot: Snapshot
    cursor_byte: int
    items: tuple[Item, ...]
    reason: str = ""
    generation: Generation | None = None
    window: Window | None = None
    filters: tuple[FilterEffect, ...] = ()
    timings: Timings = field(factory=Timings)
    features: tuple[float, ...] = field(default=(), repr=False)
    """The features of the first suggestion, see `stats/gate_features.py`; empty if the gate was not used."""
    latency_ms: float = 0.0
    """The time from the arrival of the client's request to this answer; 0 if no client waited."""

    @property
    def text(self) -> str:
        """Return the text of the first suggestion; empty if there is none."""
        return self.items[0].text if self.items else ""

    @property
    def end_byte(self) -> int:
        """Return the end of the text that the first suggestion replaces."""
        return self.cursor_byte + (self.items[0].n_replaced_bytes if self.items else 0)


async def complete(
    request: CompletionRequest[Model],
    cancellation: Cancellation,
    *,
    on_texts: OnTexts = lambda _texts: None,
    waited_ms: float = 0.0,
) -> Completion:
    """Complete one request; `on_texts` gets the texts of all answers as they grow.

    For a cancelled, declined or late request, the `Completion` has no suggestions but a reason. One deadline covers
    all stages, and the `waited_ms` for which the request waited before. Raises `EngineError`.
    """
    started = time.perf_counter()
    timeout_ms = request.settings.completion.timeout_ms - waited_ms
    snapshot, cursor_byte, model = request.snapshot, request.cursor_byte, request.model
    declined = request.declined
    if declined:
        return Completion(snapshot, cursor_byte, (), declined)
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            chosen = await in_background(_choose_prompt, request, cancellation)
    except TimeoutError:
        return Completion(snapshot, cursor_byte, (), StopReason.TIMEOUT)
    if chosen is None:
        return Completion(snapshot, cursor_byte, (), "cancelled")
    cursor, window, prompt = chosen
    window_ms = (time.perf_counter() - started) * 1000
    asked = evolve(
        generation_request(request, prompt),
        ends_with_line=cursor.one_line and not cursor.may_open,
        timeout_ms=max(0.0, timeout_ms - window_ms),
    )
    writer = Writer(model.engine, asked, model.tokenizer.piece, stop_rule(cursor), cancellation, on_texts)
    preparing = asyncio.ensure_future(in_background(_prepare, cursor))  # on a thread that waits for the model
    generation, judging_ms = await write_whole(writer, cursor, normalized)
    generated = time.perf_counter()
    left_s = max(0.0, started + timeout_ms / 1000 - generated) + MAX_LATE_S
    try:
        async with asyncio.timeout(left_s):
            await preparing
            is_quick = _is_judged(generation, cursor)  # a turn of the background thread takes longer than what is left
            completion = (
                _filtered(window, cursor, generation)
                if is_quick
                else await in_background(_filtered, window, cursor, generation)
            )
    except TimeoutError:
        completion = Completion(snapshot, cursor_byte, (), StopReason.TIMEOUT, generation, window)
    postprocess_ms = judging_ms + (time.perf_counter() - generated) * 1000
    total_ms = (time.perf_counter() - started) * 1000
    timings = Timings(window_ms, generation.prefill_ms, generation.decode_ms, postprocess_ms, total_ms)
    return evolve(completion, timings=timings)


def _choose_prompt(
    request: CompletionRequest[Model], cancellation: Cancellation
) -> tuple[CursorContext, Window, Prompt] | None:
    """Describe the cursor, choose the window, and build the prompt.

    Return `None` if the request was cancelled while it waited for the thread; then no window is cached.
    """
    if cancellation.is_cancelled:
        return None
    with working_on(request.snapshot.uri):
        cursor = describe_cursor(request.snapshot, request.cursor_byte, request.settings.completion.multiline)
        window = choose_window(request)
        request.model.anchors.remember(window)
        return cursor, window, build_prompt(window, request.model)


def generation_request(request: CompletionRequest[Model], prompt: Prompt) -> GenerationRequest:
    """Return the request for the engine."""
    settings = request.settings.completion
    return GenerationRequest(
        document=request.document,
        prompt=prompt,
        max_new_tokens=settings.max_tokens,
        timeout_ms=settings.timeout_ms,
        sampling=Sampling(settings.temperature, settings.seed),
        n_answers=request.n_items,
        beam_margin_nats=BEAM_MARGIN_NATS,
        min_confidence=settings.min_confidence,
        is_ahead=request.is_ahead,
    )


def _prepare(cursor: CursorContext) -> None:
    with working_on(cursor.snapshot.uri):
        prepare(cursor)


def _is_judged(generation: Generation, cursor: CursorContext) -> bool:
    """Return whether the filters have seen all answers: the writer judges each draft, to find one that is whole."""
    return all(is_postprocessed(_suggestion(one), cursor) for one in generation.written)


def _suggestion(output: CompletionOutput) -> Suggestion:
    return Suggestion(normalized(output.text), output.stop_reason)


def _filtered(window: Window, cursor: CursorContext, generation: Generation) -> Completion:
    with working_on(window.snapshot.uri):
        return to_completion(window, cursor, generation)


def to_completion(window: Window, cursor: CursorContext, generation: Generation) -> Completion:
    """Filter the answers of the model into suggestions; after a cancel there are none.

    The answer with the likeliest first line comes first: the likelihood of a long answer says little about the line
    that the user reads.
    """
    answers = sorted(generation.written, key=lambda written: -written.first_line_logprob)
    if answers[0].stop_reason == StopReason.CANCELLED:
        return Completion(window.snapshot, window.cursor_byte, (), "cancelled", generation, window)
    finished = [postprocess(_suggestion(one), cursor) for one in answers]
    _, filters = finished[0]
    shown = dict.fromkeys(suggestion for suggestion, _ in finished if suggestion.text)
    items = tuple(Item(one.text.replace(b"\n", cursor.line_end).decode(), one.n_replaced_bytes) for one in shown)
    dropped_by = next((effect.name for effect in filters if effect.effect is Effect.DROPPED), answers[0].stop_reason)
    return Completion(
        snapshot=window.snapshot,
        cursor_byte=window.cursor_byte,
        items=items,
        reason="" if items else dropped_by,
        generation=generation,
        window=window,
        filters=filters,
    )
