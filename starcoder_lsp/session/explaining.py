"""The answer to `starcoder/explain`: the prompt at a place, and the effects of the filters on the last suggestion."""

from __future__ import annotations

import time
from typing import Any

from starcoder_lsp.completion import Completion
from starcoder_lsp.context.explain import explain
from starcoder_lsp.engine.limits import describe_engine
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.suggestions.postprocess import FILTERS


def explain_request(request: CompletionRequest[Model]) -> dict[str, Any]:
    """Return the prompt in parts, each with its reason, and the engine's limits. Not on the event loop."""
    started = time.perf_counter()
    window, model = choose_window(request), request.model
    explained = explain(window, build_prompt(window, model), model.prompts.tokenizer, request.snapshot.uri)
    kind = request.settings.engine.kind if not model.prompts.n_bytes else "local"  # a remote model has no file here
    engine = describe_engine(kind, model.prompts.name, model.engine.capabilities)
    return explained | {"engine": engine, "timingsMs": {"window": round((time.perf_counter() - started) * 1000, 3)}}


def outcome_of(
    last: Completion | None, request: CompletionRequest[Model], timings_ms: dict[str, float]
) -> dict[str, Any]:
    """Return the effects of the filters on the last suggestion, if that was made for this request's place and text."""
    is_here = last is not None and last.snapshot is request.snapshot and last.cursor_byte == request.cursor_byte
    if last is None or not is_here or not last.filters:
        return {"filters": [{"name": f.__name__, "effect": "not run"} for f in FILTERS], "timingsMs": timings_ms}
    timings = last.timings
    return {
        "filters": [{"name": e.name, "effect": str(e)} for e in last.filters],
        "timingsMs": timings_ms | {"prefill": round(timings.prefill_ms, 3), "decode": round(timings.decode_ms, 3)},
    }
