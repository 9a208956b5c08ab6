"""Loads of the model that overlap: one model is left in the end, and every other one is closed."""

from __future__ import annotations

import asyncio

import pytest
from attrs import define, evolve, field

from starcoder_lsp.engine.engine import EngineError, EngineLostError
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote import breaker
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.model_slot import ModelSlot, ignore
from starcoder_lsp.session.scheduler import Scheduler, SupersededError
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.settings import Settings
from tests.scripted import ManualEngine

N_TICKS = 3
"""Turns of the event loop that it takes to open or close an engine."""


@define(eq=False)
class CountedEngine(ManualEngine):
    """An engine that counts how often it was closed, and notes whether that came to its end."""

    n_closed: int = 0
    is_closed: bool = False

    async def close(self, *, is_restart: bool = False) -> None:
        del is_restart
        self.n_closed += 1
        await ticks(N_TICKS)
        self.is_closed = True


@define(eq=False)
class CountedSlot(ModelSlot):
    """A slot that opens engines of its own."""

    prompts: PromptModel = field(kw_only=True)
    opened: list[CountedEngine] = field(factory=list)
    errors: list[EngineError] = field(factory=list)
    """The errors of the next attempts to open one."""
    is_changing: bool = False
    """True if each engine has another context."""

    async def _open(self, *_listeners: object) -> Model:
        await ticks(N_TICKS)
        if self.errors:
            raise self.errors.pop()
        prompts = evolve(self.prompts, n_context=1024 + self.is_changing * len(self.opened))
        self.opened.append(CountedEngine(prompts, ""))
        return Model.of(prompts, self.opened[-1])

    async def load_one(self) -> Model | None:
        try:
            return await self.load(Settings(), "a test", ignore, ignore)
        except SupersededError:
            return None


async def ticks(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.parametrize("n_between", range(1, 3 * N_TICKS + 3))
async def test_of_loads_that_overlap_the_last_one_stays(prompts: PromptModel, n_between: int) -> None:
    slot = CountedSlot(Scheduler(), StatusReporter(), prompts=prompts)
    first = await slot.load_one()
    second = asyncio.ensure_future(slot.load_one())
    await ticks(n_between)
    third = await slot.load_one()
    loaded = [first, await second, third]
    assert slot.model is third is not None
    assert slot.status.now.kind == "ready"
    assert {id(model.engine) for model in loaded if model} <= {id(engine) for engine in slot.opened}
    assert [engine.n_closed for engine in slot.opened] == [engine is not third.engine for engine in slot.opened]
    await slot.close()
    assert all(engine.n_closed == 1 for engine in slot.opened)


@pytest.mark.parametrize("n_between", range(3 * N_TICKS))
@pytest.mark.parametrize("is_changing", [False, True])
@pytest.mark.parametrize("is_loaded_again", [False, True])
async def test_no_engine_stays_open_if_one_is_opened_anew(
    prompts: PromptModel, n_between: int, *, is_changing: bool, is_loaded_again: bool
) -> None:
    slot = CountedSlot(Scheduler(), StatusReporter(), prompts=prompts, is_changing=is_changing)
    await slot.load_one()
    slot._start(slot._reopen())
    await ticks(n_between)
    if is_loaded_again:
        await slot.load_one()
    await slot.close()
    assert all(engine.n_closed == 1 and engine.is_closed for engine in slot.opened)


@pytest.mark.parametrize(("error", "n_opened"), [(EngineLostError("busy"), 2), (EngineError("no such model"), 1)])
async def test_a_server_that_does_not_answer_is_opened_anew_once_it_does(
    prompts: PromptModel, error: EngineError, n_opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "MIN_PAUSE_S", 0.001)
    slot = CountedSlot(Scheduler(), StatusReporter(), prompts=prompts, is_changing=True)
    await slot.load_one()
    slot.errors = [error] * 3
    await slot._reopen()
    assert len(slot.opened) == n_opened
    assert slot.model is not None
    assert slot.model.engine is slot.opened[-1]
    await slot.close()
