"""An engine that answers more slowly than the user types gets fewer requests; a fast one gets all."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.engine.remote.pace import MAX_WAIT_S, MIN_LEFT, PROMPT_S, Pace
from tests.scripted_server import HANG, Reply, scripted_server
from tests.unit.remote_engine import (
    IDS,
    MODELS,
    TEXT,
    engine_at,
    events_of,
    leave,
    own_state,  # noqa: F401  a fixture of every test here
    run_request,
)

SECONDS = st.floats(0.001, 60)
ENDS = st.lists(st.tuples(st.booleans(), SECONDS), max_size=30)
"""For each request: whether it had a token, and the time until that, or until it was superseded."""


def pace_after(ends: list[tuple[bool, float]]) -> Pace:
    pace = Pace()
    for has_token, after_s in ends:
        (pace.begun if has_token else pace.left)(after_s)
    return pace


@given(ENDS)
def test_a_wait_is_limited_and_never_longer_than_the_engine_takes(ends: list[tuple[bool, float]]) -> None:
    pace = pace_after(ends)
    assert 0 <= pace.wait_s <= min(MAX_WAIT_S, max((after_s for _, after_s in ends), default=0.0))


@given(ENDS, st.floats(0.001, PROMPT_S))
def test_a_fast_answer_ends_all_waiting(ends: list[tuple[bool, float]], after_s: float) -> None:
    assert pace_after([*ends, (True, after_s)]).wait_s == 0


@given(st.lists(SECONDS, max_size=30))
def test_a_user_who_gets_an_answer_each_time_never_waits(first_tokens_s: list[float]) -> None:
    assert pace_after([(True, after_s) for after_s in first_tokens_s]).wait_s == 0


@given(ENDS, SECONDS)
def test_waits_grow_with_the_number_of_superseded_requests(ends: list[tuple[bool, float]], after_s: float) -> None:
    pace, waits = pace_after(ends), []
    for _ in range(8):
        waits.append(pace.wait_s)
        pace.left(after_s)
    assert waits == sorted(waits)
    assert pace.wait_s == min(MAX_WAIT_S, pace.expected_s)


@pytest.mark.parametrize("n_left", [MIN_LEFT, 20])
async def test_a_request_with_a_short_deadline_is_sent(n_left: int) -> None:
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server, engine_at(server) as engine:
        await run_request(engine)
        engine.pace = Pace(n_left, expected_s=60.0)
        assert (await run_request(engine, timeout_ms=MAX_WAIT_S * 1000)).written[0].text == TEXT
        assert not engine.pace.wait_s


async def test_requests_superseded_during_their_wait_are_not_sent_but_the_last_one_is() -> None:
    async with (
        scripted_server(MODELS, *[Reply([HANG])] * MIN_LEFT, Reply(events_of(IDS))) as server,
        engine_at(server, timeout_ms=60_000) as engine,
    ):
        for n in range(MIN_LEFT):  # superseded before their first token
            await leave(engine, server, n)
        engine.pace.expected_s = 60.0
        for _ in range(5):  # each would wait for a tenth of a second
            cancellation = Cancellation()
            asking = asyncio.ensure_future(run_request(engine, cancellation=cancellation))
            await asyncio.sleep(0)
            cancellation.cancel()
            await asking
        assert len(server.posts) == MIN_LEFT
        assert engine.pace.wait_s
        assert (await run_request(engine)).written[0].text == TEXT
        assert len(server.posts) == MIN_LEFT + 1
        assert not engine.pace.wait_s
