"""How an engine's tokens are read: races, deadlines, cancels, and what a request has cost by then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from attrs import evolve

from starcoder_lsp.engine import generation
from starcoder_lsp.engine.engine import Cancellation, EngineLostError, Generation, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.stream import Token, TokenStream, Usage

REQUEST = GenerationRequest("a", Prompt((1, 2, 3), frozenset({0}), "psm"), 8, 60_000, beam_margin_nats=1.0)
LATE = evolve(REQUEST, timeout_ms=10)
HALF_READ = Usage(1, 1)
PIECES = {ord(letter): letter.encode() for letter in "abcdef\n"} | {0: b""}


class Given:
    """Feeds some steps at once, `(answer, letter, logprob)` each, and ends when it is closed, as it is told to."""

    def __init__(self, *steps: tuple[tuple[int, str, float], ...], ends: bool = True) -> None:
        self.steps, self.ends = steps, ends
        self.kept: list[int] = []
        self.dropped: list[int] = []
        self.n_asked = 0
        self.on_ask: Callable[[], None] = lambda: None

    def generate(self, _request: GenerationRequest) -> TokenStream:
        self.n_asked += 1
        self.stream = TokenStream(self.dropped.append, self.close)
        for step in self.steps:
            self.stream.feed(tuple(Token(answer, ord(letter), p) for answer, letter, p in step), Usage(1, 2))
        asyncio.get_running_loop().call_soon(self.on_ask)
        return self.stream

    def close(self, kept: int) -> None:
        self.kept.append(kept)
        if self.ends:
            self.stream.end(Usage(1, 2) if self.steps else HALF_READ)


async def read(
    engine: Given, request: GenerationRequest = REQUEST, cancellation: Cancellation | None = None, stop: bytes = b"?"
) -> Generation:
    def rule(text: bytes) -> str | None:
        return "stop" if text.endswith(stop) else None

    return await generate(engine, request, PIECES.__getitem__, rule, cancellation or Cancellation())


BOTH = ((0, "a", -0.1), (1, "b", -0.2))


async def test_a_race_that_is_open_at_the_deadline_has_one_answer() -> None:
    engine = Given(BOTH, ((0, "a", -2.0), (1, "b", -0.2)))
    (written,) = (await read(engine, LATE)).written
    assert (written.text, written.stop_reason) == (b"bb", "timeout")
    assert engine.kept == [1], "its cells are those that stay"


async def test_a_race_that_is_open_at_a_cancel_has_one_answer() -> None:
    engine, cancellation = Given(BOTH), Cancellation()
    engine.on_ask = cancellation.cancel
    (written,) = (await read(engine, cancellation=cancellation)).written
    assert (written.text, written.stop_reason, engine.kept) == (b"a", "cancelled", [0])


async def test_the_better_line_wins_and_the_other_answer_is_dropped() -> None:
    engine = Given(BOTH, ((0, "a", -2.0), (1, "b", -0.2)), ((0, "c", -0.1), (1, "\n", -0.1)), ((1, "e", -9.0),))
    (written,) = (await read(engine, stop=b"e")).written
    assert (written.text, written.stop_reason) == (b"bb\ne", "stop")
    assert (sorted(set(engine.dropped)), engine.kept) == ([0, 1], [1])
    assert written.first_line_logprob == pytest.approx(-0.5)


async def test_several_answers_are_all_read_to_their_ends() -> None:
    engine = Given(BOTH, ((0, "\n", -0.1), (1, "\n", -0.1)), ((0, "e", -0.1), (1, "f", -0.1)), ((1, "e", -0.1),))
    written = (await read(engine, evolve(REQUEST, n_answers=2), stop=b"e")).written
    assert [one.text for one in written] == [b"a\ne", b"b\nfe"]
    assert engine.kept == [0]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_what_is_evaluated_of_a_prompt_that_is_given_up_counts(is_cancelled: bool) -> None:  # noqa: FBT001
    engine, cancellation = Given(), Cancellation()
    if is_cancelled:
        engine.on_ask = cancellation.cancel
    made = await read(engine, REQUEST if is_cancelled else LATE, cancellation)
    assert (made.n_prompt, made.n_reused, made.n_evaluated) == (3, HALF_READ.n_reused, HALF_READ.n_evaluated)
    (written,) = made.written
    assert (written.text, written.stop_reason) == (b"", "cancelled" if is_cancelled else "timeout")


async def test_an_engine_that_has_no_last_word_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "USAGE_TIMEOUT_S", 0.01)
    (written,) = (await read(Given(ends=False), LATE)).written
    assert written.stop_reason == "timeout"


async def test_what_is_cancelled_already_does_not_get_to_the_engine() -> None:
    engine = Given(BOTH)
    made = await read(engine, cancellation=Cancellation(is_cancelled=True))
    assert (made.written[0].stop_reason, made.n_evaluated, engine.n_asked) == ("cancelled", 0, 0)


async def test_an_engine_that_is_lost_is_an_error() -> None:
    engine = Given(BOTH)
    engine.on_ask = lambda: engine.stream.end(None, EngineLostError("gone"))
    with pytest.raises(EngineLostError, match="gone"):
        await read(engine)
    assert engine.kept == [0]


async def test_one_that_is_lost_after_the_deadline_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Given(BOTH)
    monkeypatch.setattr(engine, "close", lambda _kept: engine.stream.end(None, EngineLostError("gone")))
    assert (await read(engine, LATE)).written[0].stop_reason == "timeout"


async def test_the_texts_of_a_step_are_told_together() -> None:
    told: list[tuple[bytes, ...]] = []
    engine, request = (
        Given(BOTH, ((0, "a", -2.0), (1, "\n", -0.1))),
        evolve(LATE, prompt=evolve(REQUEST.prompt, heal=b"a")),
    )
    await generate(engine, request, PIECES.__getitem__, lambda _text: None, Cancellation(), on_texts=told.append)
    assert told == [(b"\n",)], "what heals is no text, and the answer that has lost is none either"
