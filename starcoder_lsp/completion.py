"""The pipeline that a keystroke passes, one stage a line: the first file to read.

`Snapshot -> Site, Window -> Prompt -> Generation -> Completion`. Each stage is a frozen value made from the ones
before it. Runs on the model thread; knows nothing of the protocol and nothing of llama.cpp.
"""

from __future__ import annotations

import time
from fnmatch import fnmatch

from attrs import evolve, field, frozen

from starcoder_lsp.context.window import Budget, Window, choose_window
from starcoder_lsp.documents.documents import Snapshot, decline_reason
from starcoder_lsp.engine.engine import Cancelled, Engine, Generation, GenerationRequest, Prompt, Sampling
from starcoder_lsp.engine.fim import N_PSM_MARKERS, FimFormat, format_for
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.postprocess import FilterEffect, postprocess
from starcoder_lsp.suggestions.site import Site, describe_site
from starcoder_lsp.suggestions.stopping import stop_rule


@frozen
class Timings:
    """Milliseconds that the stages took."""

    window_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0


@frozen
class Completion:
    """The answer: `text` replaces `start_byte` to `end_byte` of `snapshot`. An empty text has a `reason`."""

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    text: str
    reason: str
    generation: Generation | None = None
    window: Window | None = None
    filters: tuple[FilterEffect, ...] = ()
    timings: Timings = field(factory=Timings)


@frozen
class Model:
    """A loaded engine together with its prompt format."""

    engine: Engine
    fim: FimFormat

    @classmethod
    def of(cls, engine: Engine) -> Model:
        """Find the engine's format; raises `EngineError` if the model cannot infill."""
        return cls(engine, format_for(engine.info.architecture, engine.tokenizer))


def complete(
    snapshot: Snapshot, cursor_byte: int, model: Model, settings: Settings, cancelled: Cancelled
) -> Completion:
    """Answer one request. Raises `EngineError` when the model cannot; "no suggestion" is a value with a reason."""
    started = time.perf_counter()
    declined = why_not(snapshot, settings)
    if declined:
        return Completion(snapshot, cursor_byte, cursor_byte, "", declined)
    site = describe_site(snapshot, cursor_byte, settings.completion.multiline)
    window = see(snapshot, cursor_byte, model, settings)
    prompt = ask(window, model)
    window_ms = (time.perf_counter() - started) * 1000
    generation = model.engine.generate(
        GenerationRequest(
            document=snapshot.uri,
            prompt=prompt,
            max_new_tokens=settings.completion.max_tokens,
            timeout_ms=settings.completion.timeout_ms,
            sampling=Sampling(settings.completion.temperature, settings.completion.seed),
        ),
        stop_rule(site),
        cancelled,
    )
    completion = show(window, site, generation)
    total_ms = (time.perf_counter() - started) * 1000
    return evolve(completion, timings=Timings(window_ms, generation.prefill_ms, generation.decode_ms, total_ms))


def why_not(snapshot: Snapshot, settings: Settings) -> str:
    """Why this document gets no suggestions, or an empty string."""
    if not settings.enabled:
        return "starcoder.enabled is false"
    if settings.languages and snapshot.language_id not in settings.languages:
        return f"starcoder.languages does not name {snapshot.language_id!r}"
    for glob in settings.disabled_globs:
        if fnmatch(snapshot.uri, f"*{glob}"):
            return f"starcoder.disabledGlobs has {glob!r}"
    return decline_reason(snapshot) or ""


def see(snapshot: Snapshot, cursor_byte: int, model: Model, settings: Settings) -> Window:
    """Choose the window: the configured budget, or what the model's context leaves for it."""
    n_room = model.engine.info.n_context - settings.completion.max_tokens - N_PSM_MARKERS
    n_tokens = max(16, min(settings.context.max_tokens, n_room))
    return choose_window(snapshot, cursor_byte, Budget(n_tokens, settings.context.suffix_share), model.engine.tokenizer)


def ask(window: Window, model: Model) -> Prompt:
    """Lay the window out as the model was trained.

    The last token before the cursor is given back to the model as bytes: the cursor may be inside a word, and the
    token that the whole word begins with is then another one.
    """
    *middle_ids, last_id = window.middle.ids or (None,)
    heal = b"" if last_id is None else model.engine.tokenizer.piece(last_id)
    return model.fim.psm(window.prefix.ids, window.suffix.ids, middle_ids, heal)


def show(window: Window, site: Site, generation: Generation) -> Completion:
    """Make a suggestion of what the model wrote."""
    text, filters = postprocess(generation.text, site)
    if generation.stop_reason == "cancelled":
        text = b""
    reason = "" if text else next((e.name for e in filters if e.effect == "dropped"), generation.stop_reason)
    return Completion(
        snapshot=window.snapshot,
        start_byte=window.cursor_byte,
        end_byte=window.cursor_byte,
        text=text.replace(b"\n", site.line_end).decode(),
        reason=reason,
        generation=generation,
        window=window,
        filters=filters,
    )
