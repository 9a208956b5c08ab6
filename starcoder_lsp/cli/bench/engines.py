"""A remote engine in a benchmark: `KIND=URL` on the command line, and the engine's own counters.

What was evaluated is read from the engine's `/metrics`, since an answer that was cut short brings no counts.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any

import attrs
from attrs import frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.engine.remote.endpoint import endpoint_of
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.setting_rules import fields_of
from starcoder_lsp.settings import Settings

COUNTERS = {
    "vllm": ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:generation_tokens_total"),
    "llama-server": ("llamacpp:prompt_tokens_total", "", "llamacpp:tokens_predicted_total"),
}
"""The names of an engine's counters by `engine.kind`: prompt tokens, cached ones of these, and written tokens."""
TIMEOUT_S = 30.0


@frozen
class Counts:
    """The tokens that an engine has evaluated and written since it started."""

    n_evaluated: int = 0
    n_generated: int = 0
    n_reused: int = 0

    def since(self, before: Counts) -> Counts:
        """Return what was done after `before`."""
        return Counts(
            self.n_evaluated - before.n_evaluated,
            self.n_generated - before.n_generated,
            self.n_reused - before.n_reused,
        )


def with_engine(settings: Settings, spelled: str, model: str | None) -> Settings:
    """Return settings for an engine `KIND=URL`; `model` is the file of its vocabulary. Raises `CommandError`."""
    kind, _, url = spelled.partition("=")
    rules = attrs.fields(EngineSettings).kind.metadata
    choices = next(iter(rules.values())).choices
    if kind not in choices or kind == "local" or not url:
        message = f"{spelled!r}: expected KIND=URL, and KIND one of {', '.join(choices[1:])}"
        raise CommandError(message)
    vocabulary = settings.engine.vocabulary or model or settings.model.path
    return attrs.evolve(settings, engine=attrs.evolve(settings.engine, kind=kind, url=url, vocabulary=vocabulary))


def as_layer(engine: EngineSettings) -> dict[str, Any]:
    """Return settings as a client sends them: those that are not the default."""
    default = EngineSettings()
    values = {key: getattr(engine, each.name) for key, each in fields_of(engine).items()}
    changed = {key: value for key, value in values.items() if value != getattr(default, fields_of(engine)[key].name)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changed.items()}


async def counts_of(engine: EngineSettings) -> Counts | None:
    """Read the engine's counters; `None` for one that has none. Raises `CommandError` and `EngineError`."""
    if engine.kind not in COUNTERS:
        return None
    try:
        text = await asyncio.to_thread(_metrics, endpoint_of(engine).url + "/metrics")
    except (OSError, ValueError) as error:
        message = f"the engine's counters cannot be read: {error}"
        raise CommandError(message) from error
    n_prompt, n_cached, n_generated = (_sum(text, name) for name in COUNTERS[engine.kind])
    return Counts(n_prompt - n_cached, n_generated, n_cached)


def _metrics(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:  # noqa: S310  http or https, as `endpoint_of` checks
        text: str = reply.read().decode("utf-8", "replace")
        return text


def _sum(text: str, name: str) -> int:
    """Return a counter in Prometheus' text form, summed over its labels."""
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return int(sum(float(value) for key, _, value in rows if name and key.partition("{")[0] == name))
