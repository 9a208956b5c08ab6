"""After requests, cancels and failures in any order, answers are right and recorded ids equal the cells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import (
    CompletionOutput,
    EngineError,
    Sampling,
)
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.jobs import Job
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.llama import N_RESIDENTS, LlamaContext
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine, differences
from tests.unit.worker.clients import N_CONTEXT, Reader, Recorder, text, wait_for


class FailingContext(Recorder):
    """A context that fails in some evaluations, before or after they filled their cells."""

    def __init__(self, context: LlamaContext, failures: dict[int, bool]) -> None:
        super().__init__(context)
        self._failures = failures

    def decode(self, *given: object) -> bool:
        self._fail(before=True)
        is_done = super().decode(*given)
        self._fail(before=False)
        return is_done

    def step(self, *given: object) -> None:
        self._fail(before=True)
        super().step(*given)
        self._fail(before=False)

    def _fail(self, *, before: bool) -> None:
        n = len(self.evaluated)
        if self._failures.get(n) is before:
            del self._failures[n]
            raise EngineError("made up")


@frozen
class Request:
    client: str
    document: str
    prompt: str
    n_tokens: int
    n_answers: int
    beam: float
    max_new_tokens: int
    temperature: float
    is_ahead: bool


@frozen
class Wait:
    n_tokens: int


@frozen
class Drop:
    job: int
    answer: int


@frozen
class Cancel:
    job: int
    kept: int


@frozen
class ClientCall:
    """`forget`, `leave`, `persist` or `settle`."""

    what: str
    client: str
    document: str


CLIENTS, DOCUMENTS, PROMPTS = st.sampled_from("pqr"), st.sampled_from(["x", "y"]), st.sampled_from("abc")
MOVED = st.sampled_from(["a", "ab", "ba", "cab"])
"""Prompts in which parts of other ones stand elsewhere."""


def lists_of_calls(prompt_names: st.SearchStrategy[str]) -> st.SearchStrategy[list[object]]:
    """Return a strategy for calls of several clients."""
    requests = st.builds(
        Request,
        CLIENTS,
        DOCUMENTS,
        prompt_names,
        st.sampled_from([4, 30, 100, 200, 400, N_CONTEXT - 3]),
        st.sampled_from([0, 1, 1, 2, 3, 8]),
        st.sampled_from([0.0, 3.0]),
        st.sampled_from([1, 2, 6, 300]),
        st.sampled_from([0.0, 0.0, 1.0]),
        st.booleans(),
    )
    calls = st.one_of(
        requests,
        requests,
        requests,
        st.builds(Wait, st.sampled_from([1, 3])),
        st.builds(Drop, st.integers(0, 9), st.integers(0, 3)),
        st.builds(Cancel, st.integers(0, 9), st.integers(0, 3)),
        st.builds(ClientCall, st.sampled_from(["forget", "leave", "persist", "settle"]), CLIENTS, DOCUMENTS),
    )
    return st.lists(calls, min_size=5, max_size=14)


FAILURES = st.dictionaries(st.integers(0, 12), st.booleans(), max_size=3)


def ids_of(wanted: Request, prompts: PromptModel) -> tuple[int, ...]:
    """Return the ids of a prompt; one with a longer name has parts of those of each letter."""
    n = len(wanted.prompt)
    parts = [text(letter, max(5, wanted.n_tokens // n + 1), prompts)[1:] for letter in wanted.prompt]
    return text(wanted.prompt, wanted.n_tokens, prompts) if n == 1 else sum(parts, prompts.fim.infill((), ()).ids[:1])


@pytest.fixture(scope="module")
def longest(alone: LocalEngine, prompts: PromptModel) -> Callable[[Request], CompletionOutput]:
    """Return a function that gives an engine's first 6 tokens for a prompt; each prompt runs once."""
    known: dict[tuple[str, int], CompletionOutput] = {}

    def answer(wanted: Request) -> CompletionOutput:
        key = wanted.prompt, wanted.n_tokens
        if key not in known:
            reader = Reader()
            ids = text(*key, prompts)
            asked_for = Decoding(ids, prompts.fim.stop_ids, b"", 6)
            alone.worker.forget("alone")
            job = alone.worker.submit(Owner("alone", "doc"), asked_for, reader, is_ahead=False)
            reader.wait()
            alone.worker.cancel(job)
            wait_for(alone.worker)
            known[key] = reader.first_answer()
        return known[key]

    return answer


class Play:
    """Makes the calls of several clients."""

    def __init__(self, worker: Worker, prompts: PromptModel) -> None:
        self.jobs: list[tuple[Job, Reader, Request]] = []
        self._worker, self._prompts = worker, prompts

    def do(self, call: object) -> None:
        match call:
            case Request():
                self._request(call)
            case ClientCall("settle"):
                wait_for(self._worker)
            case ClientCall("persist", client, document):
                self._worker.persist(Owner(client, document))
            case ClientCall(what, client):
                getattr(self._worker, what)(client)
            case _ if self.jobs:
                self._continue(call)

    def _request(self, wanted: Request) -> None:
        owner = Owner(wanted.client, wanted.document)
        for job, _, _ in self.jobs:
            if job.owner == owner:
                self._worker.cancel(job)
        decoding = Decoding(
            ids_of(wanted, self._prompts),
            self._prompts.fim.stop_ids,
            b"",
            wanted.max_new_tokens,
            wanted.n_answers,
            wanted.beam,
            Sampling(wanted.temperature, 1),
        )
        reader = Reader()
        self.jobs.append((self._worker.submit(owner, decoding, reader, is_ahead=wanted.is_ahead), reader, wanted))

    def _continue(self, call: object) -> None:
        match call:
            case Wait(n_tokens):
                self.jobs[-1][1].wait(n_tokens)
            case Drop(number, answer):
                job, reader, _ = self.jobs[number % len(self.jobs)]
                self._worker.drop(job, answer)
                reader.dropped.add(answer)
            case Cancel(job, kept):
                self._worker.cancel(self.jobs[job % len(self.jobs)][0], kept)

    def end(self) -> None:
        """Wait for short answers, and cancel everything."""
        for _, reader, wanted in self.jobs:
            if wanted.max_new_tokens <= 6:
                reader.wait()
        for job, _, _ in self.jobs:
            self._worker.cancel(job)
        wait_for(self._worker)


@settings(max_examples=40)
@given(calls=lists_of_calls(MOVED), failures=FAILURES)
def test_after_calls_in_any_order_records_equal_cells_where_moved_ones_are_reused(
    moving: LocalEngine, prompts: PromptModel, calls: list[object], failures: dict[int, bool]
) -> None:
    played(moving, prompts, calls, failures)


def played(
    engine: LocalEngine, prompts: PromptModel, calls: list[object], failures: dict[int, bool]
) -> list[tuple[Reader, Request]]:
    """Make the calls, check what must be true at their end, and return the requests with their readers."""
    worker = engine.worker
    for client in "pqr":
        worker.leave(client)
    wait_for(worker)
    worker.sequences.states = ParkedStates(1_000_000)
    worker.sequences.backend = FailingContext(engine.context._context, dict(failures))
    play = Play(worker, prompts)
    for call in calls:
        play.do(call)
    play.end()
    engine.check_cells()
    assert worker._turns.jobs == []
    assert [each.job for each in worker.sequences.residents] == [None] * N_RESIDENTS
    for _, reader, wanted in play.jobs:
        assert reader.n_ends == 1
        assert reader.error == "" or failures or wanted.is_ahead
    return [(reader, wanted) for _, reader, wanted in play.jobs]


@settings(max_examples=60)
@given(calls=lists_of_calls(PROMPTS), failures=FAILURES)
def test_after_calls_in_any_order_answers_are_right_and_records_equal_cells(
    loaded: LocalEngine,
    prompts: PromptModel,
    longest: Callable[[Request], CompletionOutput],
    calls: list[object],
    failures: dict[int, bool],
) -> None:
    for reader, wanted in played(loaded, prompts, calls, failures):
        if wanted.temperature == 0 and not (wanted.beam and wanted.n_answers == 1):
            differences(reader.first_answer(), longest(wanted))
