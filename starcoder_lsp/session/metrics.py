"""Counters since the start, in the shape of `starcoder/metrics`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import asdict, define, field

from starcoder_lsp.completion import Completion
from starcoder_lsp.engine.engine import CachedDocument, uri_of
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.scheduler import SupersededError

N_LATENCIES = 10_000
"""Latencies kept for the percentiles; older ones are forgotten."""


@define
class Requests:
    """Completion requests by outcome. `total` is the sum of the others and of the running ones."""

    total: int = 0
    answered: int = 0
    empty: int = 0
    superseded: int = 0
    cancelled: int = 0
    failed: int = 0


@define
class Tokens:
    """Tokens by what happened to them; `evaluated` are prompt tokens that went through a decode call.

    `ahead` are those evaluated while no request waited: `prompt + ahead` equals `reused + evaluated`. Of an abandoned
    prompt only the part that was reused or evaluated counts.
    """

    prompt: int = 0
    reused: int = 0
    evaluated: int = 0
    ahead: int = 0
    generated: int = 0
    uncounted: int = 0
    """Requests for which the engine reported no reused and evaluated tokens; the other counters leave them out."""


@define
class Metrics:
    """Counters since the start."""

    requests: Requests = field(factory=Requests)
    tokens: Tokens = field(factory=Tokens)
    evaluation_ms: float = 0.0
    """Time inside the engine's decode calls, without prefetching."""
    _latencies_ms: deque[float] = field(factory=lambda: deque(maxlen=N_LATENCIES))
    _n_latencies: int = 0

    @contextmanager
    def counting(self) -> Iterator[Requests]:
        """Count a request, and its failure if the block raises. `SupersededError` ends the block without an error."""
        self.requests.total += 1
        try:
            yield self.requests
        except SupersededError:
            self.requests.superseded += 1
        except asyncio.CancelledError:
            self.requests.cancelled += 1
            raise
        except Exception:
            self.requests.failed += 1
            raise

    def count(self, completion: Completion) -> None:
        """Count an answered request."""
        if completion.text:
            self.requests.answered += 1
        else:
            self.requests.empty += 1

    def count_tokens(self, completion: Completion) -> None:
        """Count the tokens of an answer, whether or not a request gets it."""
        generation = completion.generation
        if generation is None:
            return
        self.tokens.generated += generation.n_generated
        self.evaluation_ms += generation.evaluation_ms
        if not generation.is_counted:
            self.tokens.uncounted += 1
            return
        self.tokens.prompt += min(generation.n_prompt, generation.n_reused + generation.n_evaluated)
        self.tokens.reused += generation.n_reused
        self.tokens.evaluated += generation.n_evaluated

    def count_ahead(self, n_evaluated: int, n_generated: int = 0) -> None:
        """Count the tokens of prefetching."""
        self.tokens.evaluated += n_evaluated
        self.tokens.ahead += n_evaluated
        self.tokens.generated += n_generated

    def time(self, elapsed_ms: float) -> None:
        """Record how long an answered request took, from its arrival to its reply."""
        self._n_latencies += 1
        self._latencies_ms.append(elapsed_ms)

    def report(self, model: Model | None, cached: Iterable[CachedDocument]) -> dict[str, Any]:
        """Return the answer to `starcoder/metrics`, without the counts of suggestions."""
        tokens: dict[str, int | None] = asdict(self.tokens)
        if self.tokens.uncounted and not self.tokens.reused + self.tokens.evaluated:  # the engine never reports them
            tokens |= {"prompt": None, "reused": None, "evaluated": None}
        return {
            "requests": asdict(self.requests),
            "tokens": tokens,
            "latencyMs": {
                "count": self._n_latencies,
                "p50": self._percentile(0.5),
                "p95": self._percentile(0.95),
                "evaluation": round(self.evaluation_ms, 3),
            },
            "documents": [{"uri": uri_of(c.document), "tokens": c.n_tokens, "where": c.where} for c in cached],
            "model": None
            if model is None
            else {
                "name": model.prompts.name,
                "architecture": model.prompts.architecture,
                "parameters": model.prompts.n_parameters,
                "contextLength": model.prompts.n_context,
                "gpuLayers": model.engine.n_gpu_layers,
                "bytes": model.prompts.n_bytes,
            },
        }

    def _percentile(self, share: float) -> float | None:
        """Return a percentile of the latencies in milliseconds, or `None` before the first one."""
        return round(percentile(self._latencies_ms, share), 3) if self._latencies_ms else None
