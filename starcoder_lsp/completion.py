"""The pipeline that a keystroke passes, one stage a line: the first file to read.

`Snapshot -> Site, Window -> Prompt -> Generation -> Completion`. Each stage is a frozen value made from the ones
before it. Runs on the model thread; knows nothing of the protocol and nothing of llama.cpp.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve, field, frozen

from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import Surroundings
from starcoder_lsp.engine.engine import Cancelled, Generation, GenerationRequest, Sampling, StopRule
from starcoder_lsp.prompting import NOWHERE, Model, ask, see, why_not
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.postprocess import FilterEffect, postprocess
from starcoder_lsp.suggestions.site import Site, describe_site
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion

OnText = Callable[[bytes], None]
"""Told, on the model's thread, the text of an answer so far; several grow side by side."""

HESITATION_NATS = 1.0
"""Where the second likeliest first token is less likely by no more than this, two lines are written side by side.

So it is at a quarter of the places. A step of two tokens takes 1.6 to 1.8 times as long as one of one on a CPU.
"""


@frozen
class Timings:
    """Milliseconds that the stages took."""

    window_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    postprocess_ms: float = 0.0
    total_ms: float = 0.0


@frozen
class Item:
    """One suggestion: `text` is inserted in place of `n_replaced_bytes` behind the cursor."""

    text: str
    n_replaced_bytes: int = 0


@frozen
class Completion:
    """The answer at `cursor_byte` of `snapshot`: suggestions, the best first, or a `reason` why there are none.

    `filters` tells what was done to the first one that the model wrote.
    """

    snapshot: Snapshot
    cursor_byte: int
    items: tuple[Item, ...]
    reason: str = ""
    generation: Generation | None = None
    window: Window | None = None
    filters: tuple[FilterEffect, ...] = ()
    timings: Timings = field(factory=Timings)

    @property
    def text(self) -> str:
        """The text of the first suggestion; empty if there is none."""
        return self.items[0].text if self.items else ""

    @property
    def end_byte(self) -> int:
        """The byte up to which the first suggestion replaces the document's text."""
        return self.cursor_byte + (self.items[0].n_replaced_bytes if self.items else 0)


def complete(  # noqa: PLR0913  the last two by name
    snapshot: Snapshot,
    cursor_byte: int,
    model: Model,
    settings: Settings,
    cancelled: Cancelled,
    around: Surroundings = NOWHERE,
    *,
    n_items: int = 1,
    on_text: OnText = lambda _text: None,
) -> Completion:
    """Answer one request with at most `n_items` suggestions; `on_text` is told each one's text as it grows.

    Raises `EngineError` when the model cannot; "no suggestion" is a value with a reason.
    """
    started = time.perf_counter()
    declined = why_not(snapshot, settings)
    if declined:
        return Completion(snapshot, cursor_byte, (), declined)
    site = describe_site(snapshot, cursor_byte, settings.completion.multiline)
    window = see(snapshot, cursor_byte, model, settings, around)
    model.anchors.remember(window)
    prompt = ask(window, model)
    window_ms = (time.perf_counter() - started) * 1000
    generation = model.engine.generate(
        GenerationRequest(
            document=snapshot.uri,
            prompt=prompt,
            max_new_tokens=settings.completion.max_tokens,
            timeout_ms=settings.completion.timeout_ms,
            sampling=Sampling(settings.completion.temperature, settings.completion.seed),
            n_answers=n_items,
            hesitation=HESITATION_NATS,
            min_confidence=settings.completion.min_confidence,
        ),
        told(on_text, stop_rule(site)),
        cancelled,
    )
    generated = time.perf_counter()
    completion = show(window, site, generation)
    postprocess_ms = (time.perf_counter() - generated) * 1000
    total_ms = (time.perf_counter() - started) * 1000
    timings = Timings(window_ms, generation.prefill_ms, generation.decode_ms, postprocess_ms, total_ms)
    return evolve(completion, timings=timings)


def told(on_text: OnText, rule: StopRule) -> StopRule:
    """The rule, which passes on what it sees."""

    def stop(text: bytes) -> str | None:
        on_text(text)
        return rule(text)

    return stop


def show(window: Window, site: Site, generation: Generation) -> Completion:
    """Make suggestions of what the model wrote. After a cancel there are none; after a timeout, what there is.

    Of several, the one with the likeliest first line comes first: the whole of a long answer says little about the line
    that a person reads.
    """
    answers = sorted(generation.written, key=lambda written: -written.first_line_logprob)
    if answers[0].stop_reason == "cancelled":
        return Completion(window.snapshot, window.cursor_byte, (), "cancelled", generation, window)
    finished = [postprocess(Suggestion(normalized(one.text), one.stop_reason), site) for one in answers]
    _, filters = finished[0]
    shown = dict.fromkeys(suggestion for suggestion, _ in finished if suggestion.text)
    items = tuple(Item(one.text.replace(b"\n", site.line_end).decode(), one.n_replaced_bytes) for one in shown)
    dropped_by = next((effect.name for effect in filters if effect.effect == "dropped"), answers[0].stop_reason)
    return Completion(
        snapshot=window.snapshot,
        cursor_byte=window.cursor_byte,
        items=items,
        reason="" if items else dropped_by,
        generation=generation,
        window=window,
        filters=filters,
    )
