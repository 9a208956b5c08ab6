"""The pipeline that a keystroke passes, one stage a line: the first file to read.

`Snapshot -> Site, Window -> Prompt -> Generation -> Completion`. Each stage is a frozen value made from the ones
before it. Runs on the event loop, which waits for the background thread and the engine; knows nothing of the protocol.
"""

from __future__ import annotations

import time

from attrs import evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import Surroundings
from starcoder_lsp.engine.engine import Cancellation, Generation, GenerationRequest, Prompt, Sampling
from starcoder_lsp.engine.generation import OnTexts, generate
from starcoder_lsp.prompting import NOWHERE, Model, ask, see, why_not
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.postprocess import FilterEffect, postprocess
from starcoder_lsp.suggestions.site import Site, describe_site
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion

BEAM_MARGIN_NATS = 1.0
"""If the two likeliest first tokens are within this margin, decode both to the end of the first line and keep the
likelier (a beam of 2).

Happens at 25% of positions. A step of two tokens takes 1.6 to 1.8 times as long as one of one on a CPU.
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


async def complete(  # noqa: PLR0913  the last three by name
    snapshot: Snapshot,
    cursor_byte: int,
    model: Model,
    settings: Settings,
    cancellation: Cancellation,
    around: Surroundings = NOWHERE,
    *,
    n_items: int = 1,
    is_ahead: bool = False,
    on_texts: OnTexts = lambda _texts: None,
) -> Completion:
    """Answer one request with at most `n_items` suggestions; `on_texts` is told what the model writes as it grows.

    A cancelled one has none. Raises `EngineError` when the model cannot; "no suggestion" is a value with a reason.
    """
    started = time.perf_counter()
    declined = why_not(snapshot, settings)
    if declined:
        return Completion(snapshot, cursor_byte, (), declined)
    asked = await in_background(_question, snapshot, cursor_byte, model, settings, around, cancellation)
    if asked is None:
        return Completion(snapshot, cursor_byte, (), "cancelled")
    site, window, prompt = asked
    window_ms = (time.perf_counter() - started) * 1000
    generation = await generate(
        model.engine,
        GenerationRequest(
            document=snapshot.uri,
            prompt=prompt,
            max_new_tokens=settings.completion.max_tokens,
            timeout_ms=settings.completion.timeout_ms,
            sampling=Sampling(settings.completion.temperature, settings.completion.seed),
            n_answers=n_items,
            beam_margin_nats=BEAM_MARGIN_NATS,
            min_confidence=settings.completion.min_confidence,
            is_ahead=is_ahead,
        ),
        model.tokenizer.piece,
        stop_rule(site),
        cancellation,
        on_texts=on_texts,
    )
    generated = time.perf_counter()
    completion = await in_background(show, window, site, generation)
    postprocess_ms = (time.perf_counter() - generated) * 1000
    total_ms = (time.perf_counter() - started) * 1000
    timings = Timings(window_ms, generation.prefill_ms, generation.decode_ms, postprocess_ms, total_ms)
    return evolve(completion, timings=timings)


def _question(
    snapshot: Snapshot,
    cursor_byte: int,
    model: Model,
    settings: Settings,
    around: Surroundings,
    cancellation: Cancellation,
) -> tuple[Site, Window, Prompt] | None:
    """The cursor's surroundings, what the model is to see, and that as token ids.

    `None` if the request was cancelled while it waited for its turn: then no window is chosen, and none remembered.
    """
    if cancellation.is_cancelled:
        return None
    site = describe_site(snapshot, cursor_byte, settings.completion.multiline)
    window = see(snapshot, cursor_byte, model, settings, around)
    model.anchors.remember(window)
    return site, window, ask(window, model)


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
