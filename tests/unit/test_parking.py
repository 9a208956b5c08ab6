"""Parked states in memory: which are kept, and that a return to a document costs one token and changes no text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.parking import ParkedState, ParkedStates
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine
from tests.unit.parked_documents import MIB, body, request_for, run


def state(document: str, ids: tuple[int, ...], n_bytes: int = 10, client: str = "test") -> ParkedState:
    return ParkedState(Owner(client, document), ids, memoryview(bytearray(n_bytes)), len(ids))


def test_the_least_recently_used_copy_is_dropped_first() -> None:
    states = ParkedStates(25)
    a, b, c = state("a", (1,)), state("b", (2,)), state("c", (3,))
    for parked in (a, b, c):
        states.add(parked)
    assert list(states) == [c, b]


def test_a_copy_that_a_newer_one_continues_is_dropped() -> None:
    states = ParkedStates(100)
    states.add(state("a", (1, 2)))
    states.add(state("b", (1, 2)))
    states.add(state("a", (5, 6)))
    longer = state("a", (1, 2, 3))
    states.add(longer)
    assert [parked.owner.document for parked in states] == ["a", "a", "b"]
    assert states.match_prefix((1, 2, 3, 4)) == (longer, 3)


def test_a_copy_larger_than_the_limit_is_not_kept() -> None:
    states = ParkedStates(9)
    states.add(state("a", (1,)))
    assert list(states) == []
    assert states.match_prefix((1,)) == (None, 0)


def test_a_copy_larger_than_the_limit_displaces_no_other() -> None:
    states = ParkedStates(25)
    a = state("a", (1,))
    states.add(a)
    states.add(state("b", (2,), n_bytes=26))
    assert list(states) == [a]


def test_copies_are_taken_and_forgotten_by_client() -> None:
    states = ParkedStates(100)
    a, b = state("a", (1,)), state("b", (2,))
    states.add(a)
    states.add(b)
    states.take(b)
    states.take(b)
    states.add(state("a", (3,), client="other"))
    states.forget_all_but({"other"})
    assert [parked.owner for parked in states] == [Owner("other", "a")]


def test_documents_of_two_clients_are_different_documents() -> None:
    states = ParkedStates(100)
    states.add(state("a", (1, 2), client="one"))
    states.add(state("a", (1, 2, 3), client="two"))
    assert [(parked.owner.client, parked.ids) for parked in states] == [("two", (1, 2, 3)), ("one", (1, 2))]


def test_all_clients_share_one_limit() -> None:
    states = ParkedStates(25)
    for client in ("one", "two", "three"):
        states.add(state("a", (1,), client=client))
    assert [parked.owner.client for parked in states] == ["three", "two"]


def test_peeking_at_a_copy_counts_as_use() -> None:
    states = ParkedStates(25)
    a, b = state("a", (1,)), state("b", (2,))
    states.add(a)
    states.add(b)
    assert states.peek(a) == a.state
    states.add(state("c", (3,)))
    assert [parked.owner.document for parked in states] == ["c", "a"]


# With the real model


@pytest.fixture(scope="module")
def parking(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    loaded = LocalEngine.load(prompts, DEMONSTRATOR, caution, n_parked_bytes=4 * MIB)
    yield loaded
    loaded.end()


async def test_a_return_to_a_document_evaluates_one_token(parking: LocalEngine, prompts: PromptModel) -> None:
    first, second = request_for(prompts, "first", body("a")), request_for(prompts, "second", body("b"))
    cold = await run(parking, first)
    assert cold.n_reused == 0
    await run(parking, second)
    places = {cached.document: cached.where for cached in await parking.cached()}
    assert places == {"first": "ram", "second": "device"}
    back = await run(parking, first)
    assert back.n_evaluated == 1
    assert back.written[0].text == cold.written[0].text
    assert (await run(parking, second)).n_evaluated == 1


async def test_a_return_to_a_place_in_a_document_evaluates_one_token(
    parking: LocalEngine, prompts: PromptModel
) -> None:
    here, there = request_for(prompts, "doc", body("here")), request_for(prompts, "doc", body("there"))
    await run(parking, here)
    await run(parking, there)
    assert (await run(parking, here)).n_evaluated == 1
    await parking.forget()
    assert (await run(parking, here)).n_reused == 0


async def test_without_memory_for_copies_prompts_are_evaluated_again(
    parking: LocalEngine, prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = request_for(prompts, "no memory", body("m"))
    wanted = (await run(parking, first)).written[0].text
    monkeypatch.setattr(parking.context, "save", lambda _sequence: None)
    await run(parking, request_for(prompts, "other", body("o")))
    assert (await run(parking, first)).written[0].text == wanted


async def test_a_copy_that_cannot_be_restored_is_evaluated_again(
    parking: LocalEngine, prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = request_for(prompts, "damaged", body("d"))
    wanted = (await run(parking, first)).written[0].text
    await run(parking, request_for(prompts, "other", body("p")))
    monkeypatch.setattr(parking.context, "restore", lambda _sequence, _state: False)
    again = await run(parking, first)
    assert again.n_reused == 0
    assert again.written[0].text == wanted
