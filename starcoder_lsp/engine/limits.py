"""Describe the limits of an engine to the user: at its first use, in `doctor` and in `starcoder/explain`."""

from __future__ import annotations

from starcoder_lsp.engine.engine import Capabilities


def limits_of(capabilities: Capabilities) -> tuple[str, ...]:
    """Return a sentence for each feature that is missing, and what it means for the user."""
    counts = {
        "all": "",
        "finished": "what was reused and evaluated is only known of answers that the server ended itself",
        "none": "the server does not say what it reused and evaluated: starcoder/metrics has null there",
    }[capabilities.counts]
    found = (
        ("prompts go as text: a marker that a file spells is split by a space", not capabilities.takes_ids),
        ("one suggestion a request, whatever completion.maxItems says", capabilities.n_answers == 1),
        ("no log-probabilities for sure: completion.minConfidence may have no effect", not capabilities.logprobs),
        (counts, bool(counts)),
        ("nothing is evaluated before it is asked for (engine.prefillAhead)", not capabilities.prefill),
    )
    return tuple(text for text, is_missing in found if is_missing)


def describe_engine(kind: str, model: str, capabilities: Capabilities) -> dict[str, str | list[str]]:
    """Return the engine's part of `starcoder/explain`."""
    return {"kind": kind, "model": model, "limits": list(limits_of(capabilities))}
