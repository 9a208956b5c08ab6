"""Hide suggestions that the user would probably not accept, as the gate of `stats/gate.py` decides."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion
from starcoder_lsp.stats.gate import Decision, Gate, shipped
from starcoder_lsp.stats.gate_features import N_AFTER_BYTES, N_BEFORE_BYTES, Ready, features_of
from starcoder_lsp.suggestions.postprocess import Effect, FilterEffect

NAME = "gate"
"""The gate's name among the filters, in `starcoder/explain` and in the statistics."""


@frozen
class Judged:
    """An answer, and the gate's decision on it."""

    completion: Completion
    decision: Decision


@define(eq=False)
class GateState:
    """The gate's state for one document or notebook."""

    hidden: bytes | None = None
    """The suggestion that is hidden. When the user types its beginning, the rest of it stays hidden."""
    last: Judged | None = None
    edited_s: float | None = None
    """The monotonic time of the last edit."""

    def note_edit(self) -> None:
        """Note the time of an edit."""
        self.edited_s = time.monotonic()

    def explain(self, last: Completion | None) -> dict[str, Any] | None:
        """Return the gate's decision on `last`, the document's last answer; `None` if the gate did not judge it."""
        judged = self.last
        if judged is None or last is None or judged.completion.generation is not last.generation:
            return None
        return judged.decision.as_json()


@define(eq=False)
class Gatekeeper:
    """Judges automatic answers. On the event loop; features are computed on the background thread."""

    gate: Gate = field(factory=shipped)
    needs_features: bool = False
    """True if features are computed although nothing is hidden: the statistics record them, and the gate learns."""

    async def judge(self, state: GateState, completion: Completion, calm: float, recent: float) -> Completion:
        """Return an answer with its features, and without its suggestions if the gate hides them.

        `calm` is the setting `completion.calm`, `recent` the share of recent suggestions that were accepted.
        """
        if not (calm or self.needs_features) or not completion.items:
            return completion
        text = completion.text.encode()
        if completion.generation is None:  # from the cache: shown or hidden as before
            is_hidden = calm and state.hidden is not None and state.hidden.endswith(text)
            return _hidden(completion) if is_hidden else completion
        state.hidden = None
        pause_s = 0.0 if state.edited_s is None else time.monotonic() - state.edited_s
        features = await in_background(_features, completion, pause_s, recent)
        if features is None:
            return completion
        decision = self.gate.decide(features, calm)
        completion = evolve(completion, features=features)
        state.last = Judged(completion, decision)
        if decision.is_shown:
            return completion
        state.hidden = text
        return _hidden(completion)


def _features(completion: Completion, pause_s: float, recent: float) -> tuple[float, ...] | None:
    ready = ready_of(completion, pause_s=pause_s, recent=recent)
    return None if ready is None else features_of(ready)


def _hidden(completion: Completion) -> Completion:
    return evolve(completion, items=(), reason=NAME, filters=(*completion.filters, FilterEffect(NAME, Effect.DROPPED)))


def ready_of(completion: Completion, *, pause_s: float = 0.0, recent: float = 0.0) -> Ready | None:
    """Return the gate's input for an answer's first suggestion; `None` if no model was run for it.

    May parse the document: not on the event loop.
    """
    generation, at = completion.generation, completion.cursor_byte
    if generation is None or not completion.items:
        return None
    best = max(generation.written, key=lambda written: written.first_line_logprob)
    data = completion.snapshot.text.data
    return Ready(
        text=completion.text.encode(),
        written=best.text,
        logprobs=best.logprobs,
        first_line_logprob=best.first_line_logprob,
        stop_reason=str(best.stop_reason),
        filters=tuple((each.name, str(each)) for each in completion.filters),
        n_replaced_bytes=completion.items[0].n_replaced_bytes,
        before=data[max(0, at - N_BEFORE_BYTES) : at],
        after=data[at : at + N_AFTER_BYTES],
        node=_node_before(completion),
        pause_s=pause_s,
        latency_ms=completion.timings.total_ms,
        recent=recent,
    )


def _node_before(completion: Completion) -> str:
    """Return the type of the syntax node that ends before the cursor; empty without a tree."""
    syntax, at = completion.snapshot.syntax, completion.cursor_byte
    tree = syntax.tree if syntax is not None else None
    node = None if tree is None else tree.root_node.descendant_for_byte_range(max(0, at - 1), at)
    return node.type if node is not None else ""
