"""The checks of the model's memory and speed."""

from __future__ import annotations

import pytest
from attrs import evolve

from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING
from starcoder_lsp.cli.doctor.facts import Facts, Memory, RunningHost, Speed
from starcoder_lsp.cli.doctor.model import check_memory, check_speed
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.engine.synthetic_header import (
    SHAPES,
)
from starcoder_lsp.settings import CacheSettings, ContextSettings, HostSettings, Settings
from tests.unit.doctor.machine import GIB, MIB, one


def of_size(facts: Facts, n_weights: int, n_available: int, n_total: int, *, n_context: int = 4096) -> Facts:
    """StarCoder2 3B's shape with the demonstrator's vocabulary."""
    assert facts.model is not None
    model = evolve(facts.model, n_bytes=n_weights, n_layers=30, n_kv_heads=2, n_head_embd=128)
    return evolve(
        facts,
        model=model,
        prompts=evolve(facts.prompts, n_context=n_context),
        memory=Memory(n_total, n_available),
        settings=Settings(cache=CacheSettings(ram_mib=512)),
    )


def test_the_size_of_a_tokens_cells() -> None:
    assert check_model_file(DEMONSTRATOR).n_kv_bytes > 0
    shape = SHAPES["3b"]
    model = evolve(check_model_file(DEMONSTRATOR), n_layers=30, n_kv_heads=2, n_head_embd=128)
    assert model.n_kv_bytes == shape.n_kv_bytes == 30 * 1024


@pytest.mark.parametrize(
    ("n_available", "n_total", "state", "advice"),
    [
        (8 * GIB, 16 * GIB, OK, ""),
        (2700 * MIB, 8 * GIB, OK, ""),  # MiB: 1,700 weights, 240 cells, 512 parked states, 200 for the rest: 2,652
        (2600 * MIB, 8 * GIB, WARNING, "set cache.ramMiB to 460 in"),
        (2100 * MIB, 8 * GIB, WARNING, "cache.ramMiB to 0 and model.contextLength to 3328"),
        (1000 * MIB, 8 * GIB, WARNING, "smaller model"),
        (1000 * MIB, 2 * GIB, ERROR, "smaller model"),
    ],
)
def test_a_model_that_is_too_large_for_memory_is_reported(
    facts: Facts, n_available: int, n_total: int, state: str, advice: str
) -> None:
    (check,) = check_memory(of_size(facts, 1700 * MIB, n_available, n_total))
    assert check.state == state, check
    assert "2.6 GiB (1.7 GiB of weights, 240 MiB for 8,192 tokens, 512 MiB for parked documents" in check.found
    assert advice in check.advice


def test_advice_about_memory_solves_the_problem_that_it_is_for(facts: Facts) -> None:
    tight = of_size(facts, 1700 * MIB, 2100 * MIB, 8 * GIB)
    settings = evolve(tight.settings, cache=CacheSettings(ram_mib=0))
    helped = evolve(tight, settings=settings, prompts=evolve(tight.prompts, n_context=3328))
    assert [check.state for check in check_memory(helped)] == [OK]


def test_memory_is_not_checked_without_a_local_model(facts: Facts) -> None:
    tight = of_size(facts, 1700 * MIB, 1000 * MIB, 2000 * MIB)
    on_gpu = evolve(tight, library=evolve(tight.library, can_offload=True))
    unknown = evolve(tight, memory=None)
    assert tight.model is not None
    loaded = evolve(tight, hosts=(RunningHost(HostOptions.of(tight.settings, tight.model).key),))
    for changed in (on_gpu, unknown, loaded):
        assert [check.state for check in check_memory(changed)] == [OK]
    own = evolve(loaded, settings=evolve(tight.settings, host=HostSettings(shared=False)))
    (check,) = check_memory(own)
    assert check.state == ERROR
    assert "120 MiB for 4,096 tokens" in check.found


@pytest.mark.parametrize(
    ("prefill", "decode", "states"),
    [(70, 16, [OK, OK]), (20, 8, [WARNING, OK]), (70, 2, [OK, WARNING]), (5000, 900, [OK, OK])],
)
def test_the_measured_speed_is_judged(facts: Facts, prefill: float, decode: float, states: list[str]) -> None:
    measured = evolve(facts, speed=Speed(prefill, decode, 1.0, 0))
    lines = list(check_speed(measured))
    assert [one(iter(lines), "prompt").state, one(iter(lines), "speed").state] == states
    if prefill == 20:
        assert "80 of 1,920 tokens" in one(iter(lines), "prompt").found
        patient = evolve(measured, settings=Settings(context=ContextSettings(max_prefill_ms=6400)))
        assert one(check_speed(patient), "prompt").state == OK
        assert "6,400 ms" in one(iter(lines), "prompt").advice


def test_a_crash_during_the_measurement_is_an_error(facts: Facts) -> None:
    (failed,) = check_speed(evolve(facts, speed_problem="the process of the model ended"))
    assert (failed.state, failed.found) == (ERROR, "the process of the model ended")
    what = "llama.cpp crashed. It may be built for another CPU"
    (failed,) = check_speed(evolve(facts, speed_problem=f"{what}; rebuild it: {rebuild_command()}"))
    assert (failed.state, failed.found) == (ERROR, what)
    assert failed.advice.splitlines()[-1] == rebuild_command()
    slower = evolve(facts, speed=Speed(70, 16, 1.0, 0, ("It runs more carefully now",)))
    assert [check.state for check in check_speed(slower)] == [WARNING, OK, OK]
