"""Describe the limits of an engine to the user: at its first use, in `doctor` and in `starcoder/explain`."""

from __future__ import annotations

from starcoder_lsp.engine.engine import Capabilities


def limits_of(capabilities: Capabilities) -> tuple[str, ...]:
    """Return a sentence for each feature that is missing, and what it means for the user."""
    counts = {
        "all": "",
        "finished": "reused and evaluated tokens are known only for answers that the server ended itself",
        "none": "the server does not report reused and evaluated tokens: they are null in starcoder/metrics",
    }[capabilities.counts]
    found = (
        ("prompts are sent as text: a marker in a file's text is split by a space", not capabilities.takes_ids),
        ("one suggestion for each request, whatever completion.maxItems is", capabilities.n_answers == 1),
        ("log-probabilities may be missing: then completion.minConfidence has no effect", not capabilities.logprobs),
        (counts, bool(counts)),
        ("no prompt is evaluated ahead of its request (engine.prefillAhead)", not capabilities.prefill),
    )
    return tuple(text for text, is_missing in found if is_missing)


def describe_engine(kind: str, model: str, capabilities: Capabilities) -> dict[str, str | list[str]]:
    """Return the engine's part of `starcoder/explain`."""
    return {"kind": kind, "model": model, "limits": list(limits_of(capabilities))}
