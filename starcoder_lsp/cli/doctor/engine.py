"""Checks of a remote engine: the host that sees source text, its answers, and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starcoder_lsp.cli import coroutines
from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING, Check
from starcoder_lsp.cli.doctor.facts import EngineFacts, Facts
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.limits import limits_of
from starcoder_lsp.engine.loading import is_remote
from starcoder_lsp.settings import Settings

ANSWER_S = 10.0
"""The time that the engine has to name its model. Not measured."""


def look_at_engine(settings: Settings) -> EngineFacts | None:
    """Ask a remote engine for its model; `None` if the model runs on this machine. Sends no source text."""
    if not is_remote(settings):
        return None
    from starcoder_lsp.engine.remote.endpoint import endpoint_of

    host = ""
    try:
        host = endpoint_of(settings.engine).host
        return coroutines.run(_look(settings, host))
    except TimeoutError:
        return EngineFacts(host, problem=f"{host} did not answer within {ANSWER_S:g} s")
    except EngineError as error:
        return EngineFacts(host, problem=str(error))


async def _look(settings: Settings, host: str) -> EngineFacts:
    from starcoder_lsp.engine.remote.opening import connect

    async with asyncio.timeout(ANSWER_S):
        prompts, engine = await connect(settings)
        await engine.close()
        return EngineFacts(host, prompts.name, prompts.n_context, limits_of(engine.capabilities))


def check_engine(facts: Facts) -> Iterator[Check]:
    """Report where the model runs."""
    engine, settings = facts.engine, facts.settings.engine
    if engine is None:
        yield Check("engine", OK, "local: nothing leaves this machine")
        return
    if engine.host:
        where = f"{settings.kind} at {engine.host}, which sees the source text around the cursor"
        yield Check("engine", OK, where)
    if engine.problem:
        advice = 'The setting engine.fallback = "local" answers from the local model meanwhile.'
        yield Check("engine", ERROR, engine.problem, "" if settings.fallback == "local" else advice)
        return
    yield Check("model", OK, f"{engine.model}, {engine.n_context:,} tokens for prompt and answer")
    for limit in engine.limits:
        yield Check("engine", OK, limit)
    if settings.allow_http and facts.settings.engine.url.startswith("http://"):
        yield Check("engine", WARNING, "http://: everybody on the way can read the source text", "Use https://.")
