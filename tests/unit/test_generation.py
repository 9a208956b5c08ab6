"""The generation loop on the real demonstrator, and its ledger on every way out."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from attrs import evolve

from starcoder_lsp.engine.decoding import N_JUDGED_TOKENS, confidence, sample
from starcoder_lsp.engine.engine import EngineError, Generation, GenerationRequest, Sampling
from starcoder_lsp.engine.fim import FimFormat, format_for
from starcoder_lsp.engine.generation import N_SLICE
from starcoder_lsp.engine.llama import N_SEQUENCES, LlamaEngine, load
from starcoder_lsp.engine.loading import DEMONSTRATOR

PREFIX = b"import os\n\n\ndef read(path):\n    with open(path) as f:\n        return f"
SUFFIX = b"\n\n\ndef write(path, text):\n    with open(path, 'w') as f:\n        f.write(text)\n"


@pytest.fixture
def fresh(engine: LlamaEngine) -> LlamaEngine:
    for cached in list(engine.cached()):
        engine.forget(cached.document)
    return engine


@pytest.fixture
def fim(engine: LlamaEngine) -> FimFormat:
    return format_for(engine.info.architecture, engine.tokenizer)


@pytest.fixture(scope="module")
def uncached() -> Iterator[LlamaEngine]:
    """A second engine, which is made to forget before each question."""
    loaded = load(DEMONSTRATOR, n_context=2048, n_gpu_layers=0, n_threads=1, on_progress=lambda _share: None)
    yield loaded
    loaded.close()


def request(engine: LlamaEngine, fim: FimFormat, prefix: bytes = PREFIX, **given: object) -> GenerationRequest:
    encode = engine.tokenizer.encode
    given = {"document": "test", "max_new_tokens": 12, "timeout_ms": 60_000.0} | given
    return GenerationRequest(prompt=fim.psm(encode(prefix), encode(SUFFIX)), **given)


def run(engine: LlamaEngine, asked: GenerationRequest, stop=lambda _text: None, cancelled=lambda: False) -> Generation:
    generation = engine.generate(asked, stop, cancelled)
    engine.check_ledger()
    return generation


def test_counts_add_up(fresh: LlamaEngine, fim: FimFormat) -> None:
    asked = request(fresh, fim)
    first = run(fresh, asked)
    assert (first.n_reused, first.n_evaluated) == (0, first.n_prompt)
    assert first.n_prompt == len(asked.prompt.ids)
    again = run(fresh, asked)
    assert (again.n_reused, again.n_evaluated) == (again.n_prompt - 1, 1)
    assert again.written[0].text == first.written[0].text


def test_a_stop_rule_ends_it_and_is_the_reason(fresh: LlamaEngine, fim: FimFormat) -> None:
    seen: list[bytes] = []
    generation = run(
        fresh, request(fresh, fim), stop=lambda text: seen.append(text) or ("enough" if len(seen) == 3 else None)
    )
    assert generation.written[0].stop_reason == "enough"
    assert generation.written[0].text == seen[-1]
    assert generation.n_generated == 3


@pytest.mark.parametrize("n_looks", [1, 2, 100, 200, 300, 400])
def test_a_cancelled_prefill_keeps_what_it_evaluated(fresh: LlamaEngine, fim: FimFormat, n_looks: int) -> None:
    """Whether it is broken off between two slices or in the middle of one."""
    asked = request(fresh, fim, prefix=PREFIX * 20)
    looks: list[int] = []

    def cancelled() -> bool:
        looks.append(1)
        return len(looks) >= n_looks

    generation = run(fresh, asked, cancelled=cancelled)
    assert generation.written[0].stop_reason == "cancelled"
    assert generation.written[0].text == b""
    assert generation.n_evaluated % N_SLICE == 0
    assert generation.n_evaluated < generation.n_prompt
    goes_on = run(fresh, asked)
    assert goes_on.n_reused == generation.n_evaluated
    assert goes_on.n_evaluated == goes_on.n_prompt - generation.n_evaluated


def test_a_cancel_breaks_a_slice_off(fresh: LlamaEngine, fim: FimFormat) -> None:
    looks: list[int] = []
    run(fresh, request(fresh, fim, prefix=PREFIX * 20), cancelled=lambda: looks.append(1) or len(looks) >= 100)
    assert len(looks) == 100, "no node of the graph is computed after the cancel"


def test_a_prompt_evaluated_ahead_is_not_evaluated_again(fresh: LlamaEngine, fim: FimFormat) -> None:
    asked = request(fresh, fim)
    ahead = fresh.prefill("test", asked.prompt, lambda: False)
    fresh.check_ledger()
    assert (ahead.n_evaluated, ahead.is_complete) == (len(asked.prompt.ids), True)
    assert run(fresh, asked).n_evaluated == 1
    broken_off = fresh.prefill("test", request(fresh, fim, prefix=PREFIX * 20).prompt, lambda: True)
    assert (broken_off.n_evaluated, broken_off.is_complete) == (0, False)
    fresh.check_ledger()


def test_the_speed_of_a_prefill_is_known_from_the_start(engine: LlamaEngine) -> None:
    assert engine.prefill_speed > 0


def test_a_timeout_leaves_the_text_so_far(fresh: LlamaEngine, fim: FimFormat) -> None:
    generation = run(fresh, request(fresh, fim, timeout_ms=0.0))
    assert generation.written[0].stop_reason == "timeout"
    assert generation.n_generated == 1


def test_a_prompt_that_fills_the_context_is_refused_and_the_engine_lives(fresh: LlamaEngine, fim: FimFormat) -> None:
    with pytest.raises(EngineError, match="no room"):
        run(fresh, request(fresh, fim, prefix=b"x = 1\n" * 2000))
    fresh.check_ledger()
    assert run(fresh, request(fresh, fim)).n_generated > 0


def test_generation_ends_where_the_context_does(fresh: LlamaEngine, fim: FimFormat) -> None:
    prefix = b""
    while len(fresh.tokenizer.encode(prefix)) < fresh.info.n_context - 60:
        prefix += b"x = 1\n"
    asked = request(fresh, fim, prefix=prefix, max_new_tokens=500)
    generation = run(fresh, asked)
    assert generation.n_prompt + generation.n_generated <= fresh.info.n_context


def test_sampling_is_repeatable_under_a_seed(fresh: LlamaEngine, fim: FimFormat) -> None:
    texts = []
    for seed in (1, 1, 2, 3, 4):
        fresh.forget("test")
        texts.append(run(fresh, request(fresh, fim, sampling=Sampling(1.0, seed))).written[0].text)
    assert texts[0] == texts[1]
    assert len(set(texts)) > 2


def test_greedy_takes_the_likeliest_and_reports_its_probability() -> None:
    logits = np.log(np.array([0.1, 0.7, 0.2], dtype=np.float32))
    token_id, logprob = sample(logits, Sampling(), np.random.default_rng(0))
    assert token_id == 1
    assert logprob == pytest.approx(np.log(0.7), abs=1e-5)


def test_drawn_tokens_follow_the_distribution() -> None:
    probabilities = np.array([0.1, 0.7, 0.2], dtype=np.float32)
    rng = np.random.default_rng(0)
    drawn = [sample(np.log(probabilities), Sampling(1.0), rng)[0] for _ in range(3000)]
    assert np.bincount(drawn) / 3000 == pytest.approx(probabilities, abs=0.03)


def test_several_answers_begin_differently_and_each_is_what_its_beginning_leads_to(
    fresh: LlamaEngine, fim: FimFormat, uncached: LlamaEngine
) -> None:
    asked = request(fresh, fim, n_answers=3)
    generation = run(fresh, asked)
    assert len({answer.ids[0] for answer in generation.written}) == 3
    first_logprobs = [answer.logprobs[0] for answer in generation.written]
    assert first_logprobs == sorted(first_logprobs, reverse=True)
    assert generation.n_evaluated == generation.n_prompt, "the prompt is evaluated once"
    for answer in generation.written:
        prompt = evolve(asked.prompt, ids=(*asked.prompt.ids, answer.ids[0]))
        uncached.forget("uncached")
        (alone,) = run(uncached, evolve(asked, document="uncached", prompt=prompt, n_answers=1)).written
        n_same = next(
            (i for i, pair in enumerate(zip(answer.ids[1:], alone.ids, strict=False)) if len(set(pair)) > 1), 11
        )
        assert n_same == 11 or answer.logprobs[1 + n_same] == pytest.approx(alone.logprobs[n_same], abs=0.05)
    again = run(fresh, asked)
    assert again.n_evaluated == 1
    assert again.written[0].ids == generation.written[0].ids


def test_where_the_model_hesitates_the_likelier_line_wins(
    fresh: LlamaEngine, fim: FimFormat, uncached: LlamaEngine
) -> None:
    """As if both had been written, and chosen by the probability of their first lines; ties apart, as below."""

    def line_end(written: bytes) -> str | None:
        return "line_end" if b"\n" in written else None

    rng, text, n_second = random.Random(3), PREFIX, 0
    for _ in range(40):
        text = edited(text, rng)
        asked = request(fresh, fim, prefix=text)
        raced = run(fresh, evolve(asked, hesitation=2.0), line_end)
        (winner,) = raced.written
        uncached.forget("uncached")
        first, second = run(uncached, evolve(asked, document="uncached", n_answers=2), line_end).written
        if not first.ids or not second.ids or first.logprobs[0] - second.logprobs[0] > 2.0:
            best = first
        else:
            best = max(first, second, key=lambda one: one.first_line_logprob)
        is_close = abs(first.first_line_logprob - second.first_line_logprob) < 0.1
        assert is_close or winner.ids[:1] == best.ids[:1]
        n_second += winner.ids[:1] == second.ids[:1]
        again = run(fresh, evolve(asked, hesitation=2.0), line_end)
        assert again.n_evaluated == 1, "the cells of prompt and winner are where they belong"
    assert n_second > 2


def test_several_drawn_answers_are_repeatable_under_a_seed(fresh: LlamaEngine, fim: FimFormat) -> None:
    asked = request(fresh, fim, n_answers=4, sampling=Sampling(1.0, 5))
    first = run(fresh, asked)
    fresh.forget("test")
    assert [answer.text for answer in run(fresh, asked).written] == [answer.text for answer in first.written]
    assert len({answer.text for answer in first.written}) > 2


def test_no_more_answers_than_there_is_room_for(fresh: LlamaEngine, fim: FimFormat) -> None:
    prefix = b""
    while len(fresh.tokenizer.encode(prefix)) < fresh.info.n_context - 80:
        prefix += b"x = 1\n"
    generation = run(fresh, request(fresh, fim, prefix=prefix, max_new_tokens=500, n_answers=99))
    assert len(generation.written) == N_SEQUENCES
    assert generation.n_prompt + generation.n_generated <= fresh.info.n_context


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_a_step_that_fails_leaves_no_cells_behind(
    fresh: LlamaEngine, fim: FimFormat, monkeypatch, n_steps: int
) -> None:
    step, calls = fresh.context.step, []

    def failing(tokens: object) -> None:
        calls.append(1)
        step(tokens)
        if len(calls) == n_steps:
            raise EngineError("no cells left")

    monkeypatch.setattr(fresh.context, "step", failing)
    with pytest.raises(EngineError, match="no cells"):
        fresh.generate(request(fresh, fim, n_answers=3), lambda _text: None, lambda: False)
    fresh.check_ledger()


def test_an_unlikely_beginning_ends_it(fresh: LlamaEngine, fim: FimFormat) -> None:
    likely = run(fresh, request(fresh, fim)).written[0]
    assert len(likely.ids) > N_JUDGED_TOKENS
    mean = confidence(likely.logprobs)
    (given_up,) = run(fresh, request(fresh, fim, min_confidence=mean + 0.01)).written
    assert (given_up.stop_reason, len(given_up.ids)) == ("low_confidence", N_JUDGED_TOKENS)
    assert run(fresh, request(fresh, fim, min_confidence=mean - 0.01)).written[0] == likely


def test_after_a_failed_decode_the_answer_comes_from_an_empty_context(
    fresh: LlamaEngine, fim: FimFormat, monkeypatch
) -> None:
    asked = request(fresh, fim, prefix=PREFIX * 10)
    expected = run(fresh, asked).written[0].text
    fresh.forget("test")
    fail_in(fresh, monkeypatch, {3})
    generation = run(fresh, asked)
    assert generation.written[0].text == expected
    assert generation.n_evaluated == generation.n_prompt


def test_where_it_fails_again_ledger_and_context_agree(fresh: LlamaEngine, fim: FimFormat, monkeypatch) -> None:
    asked = request(fresh, fim, prefix=PREFIX * 10)
    fail_in(fresh, monkeypatch, {3, 6})
    with pytest.raises(EngineError, match="no cells"):
        fresh.generate(asked, lambda _text: None, lambda: False)
    fresh.check_ledger()
    monkeypatch.undo()
    assert run(fresh, asked).n_reused == 2 * N_SLICE


def fail_in(engine: LlamaEngine, monkeypatch, numbers: set[int]) -> None:
    """Let the decode calls of these numbers fail, with their cells left behind."""
    decode, calls = engine.context.decode, []

    def failing(*arguments: object) -> bool:
        calls.append(1)
        is_done = decode(*arguments)
        if len(calls) in numbers:
            raise EngineError("no cells left")
        return is_done

    monkeypatch.setattr(engine.context, "decode", failing)


WORDS = ["self.", "return ", "x", " = ", "name", "(", ")", ":\n    ", "\n", "path", "[0]", "import os\n", "for i in "]


def edited(text: bytes, rng: random.Random) -> bytes:
    """Type at the end mostly, delete a little, now and then change something above."""
    kind = rng.random()
    if kind < 0.7:
        text += rng.choice(WORDS).encode()
    elif kind < 0.9:
        text = text[: len(text) - rng.randrange(1, 12)] or PREFIX
    else:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(WORDS).encode() + text[at:]
    return text[-600:]


def test_the_cache_changes_time_and_not_meaning(fresh: LlamaEngine, fim: FimFormat, uncached: LlamaEngine) -> None:
    """300 random steps of editing and asking: the answer with the cache is the answer without it.

    A batch of one and a batch of many sum in another order, and cells are rounded to 16 bits. So two candidates that
    are equally likely to within a few hundredths may change places; where the answers part it must be at such a pair.
    """
    rng = random.Random(7)
    text, n_reused, n_ties = PREFIX, 0, 0
    for _ in range(300):
        text = edited(text, rng)
        asked = request(fresh, fim, prefix=text, max_new_tokens=4, document=rng.choice(["test", "other"]))
        generation = run(fresh, asked)
        uncached.forget("uncached")
        unhelped = run(uncached, evolve(asked, document="uncached"))
        assert unhelped.n_reused == 0
        n_reused += generation.n_reused
        (cached,), (reference,) = generation.written, unhelped.written
        if cached.ids != reference.ids:
            n_ties += 1
            at = next(
                (i for i, pair in enumerate(zip(cached.ids, reference.ids, strict=False)) if len(set(pair)) > 1), None
            )
            assert at is not None, "one stopped where the other went on"
            assert cached.logprobs[at] == pytest.approx(reference.logprobs[at], abs=0.05)
    assert n_reused > 10_000
    assert n_ties < 10
