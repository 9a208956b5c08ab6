"""Cells belong to a document of a client: common beginnings, copies, and clients that leave."""

from __future__ import annotations

from attrs import evolve

from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine
from tests.unit.worker.clients import check_answer, request, run_request


async def test_documents_of_two_clients_with_the_same_name_are_distinct(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    one, two = host.beside("one"), host.beside("two")
    first, second = request(prompts, "a", 200), request(prompts, "b", 300)
    for _ in range(2):
        check_answer(await run_request(one, first), await run_request(alone, first))
        check_answer(await run_request(two, second), await run_request(alone, second))
    assert max((await run_request(one, first)).n_evaluated, (await run_request(two, second)).n_evaluated) == 0
    for engine, wanted in ((one, first), (two, second)):
        (cached,) = await engine.cached()
        assert (cached.document, cached.where) == ("doc", "device")
        assert len(wanted.prompt.ids) <= cached.n_tokens <= len(wanted.prompt.ids) + wanted.max_new_tokens


async def test_the_common_beginning_of_two_clients_prompts_is_evaluated_once(
    host: LocalEngine, prompts: PromptModel
) -> None:
    wanted = request(prompts, "a", 300)
    await run_request(host.beside("one"), wanted)
    assert (await run_request(host.beside("two"), wanted)).n_evaluated == 1
    await run_request(host.beside("two"), request(prompts, "b", 300))
    assert (await run_request(host.beside("one"), wanted)).n_evaluated == 0


async def test_a_prompt_that_ends_inside_the_answer_before_is_not_evaluated(
    host: LocalEngine, prompts: PromptModel
) -> None:
    wanted = request(prompts, "a", 200, max_new_tokens=12)
    ids = (await run_request(host, wanted)).written[0].ids
    for n in (9, 1, 5):  # before each, a prompt that was longer or shorter
        further = evolve(
            wanted, prompt=evolve(wanted.prompt, ids=(*wanted.prompt.ids, *ids[:n])), max_new_tokens=12 - n
        )
        got = await run_request(host, further)
        assert (got.n_evaluated, got.n_reused) == (0, 200 + n)
        assert got.written[0].ids == ids[n:]


async def test_a_copy_that_is_restored_for_another_client_stays(host: LocalEngine, prompts: PromptModel) -> None:
    """The other client's prompt shares only its beginning."""
    one, two = host.beside("one"), host.beside("two")
    wanted = request(prompts, "a", 600)
    await run_request(one, wanted)
    await run_request(one, request(prompts, "b", 300))
    ids = (*wanted.prompt.ids[:200], *request(prompts, "c", 100).prompt.ids)
    answer = await run_request(two, evolve(wanted, prompt=evolve(wanted.prompt, ids=ids)))
    assert answer.n_reused == 200
    assert (await run_request(one, wanted)).n_evaluated == 1


async def test_forget_drops_the_states_of_its_client_only(host: LocalEngine, prompts: PromptModel) -> None:
    one, two = host.beside("one"), host.beside("two")
    wanted = request(prompts, "a", 200), request(prompts, "b", 200)
    for engine in (one, two):
        for each in wanted:
            await run_request(engine, each)
    await one.forget()
    assert await one.cached() == []
    assert {each.where for each in await two.cached()} == {"device", "ram"}
    assert (await run_request(two, wanted[1])).n_evaluated == 0


async def test_the_state_of_a_client_that_leaves_is_parked(host: LocalEngine, prompts: PromptModel) -> None:
    wanted = request(prompts, "a", 300)
    cold = await run_request(host.beside("goes"), wanted)
    host.worker.leave("goes")
    await host.settled()
    host.check_cells()
    assert not any(each.cached.ids for each in host.worker.sequences.residents)
    (parked,) = host.worker.sequences.states
    assert parked.owner == Owner("goes", "doc")
    back = await run_request(host.beside("comes back"), wanted)
    assert back.n_evaluated == 1
    check_answer(back, cold)


async def test_the_jobs_of_a_client_that_leaves_are_ended(host: LocalEngine, prompts: PromptModel) -> None:
    stream = host.beside("goes").generate(request(prompts, "a", 100, max_new_tokens=500))
    async for _ in stream:
        break
    host.worker.leave("goes")
    await stream.ended()
    await host.settled()  # the stream ends before the cells are copied out
    host.check_cells()


async def test_copies_of_all_clients_share_one_limit(host: LocalEngine, prompts: PromptModel) -> None:
    states = host.worker.sequences.states = ParkedStates(1_500_000)
    for name in "abcd":
        await run_request(host.beside(name), request(prompts, name, 300))
        host.worker.leave(name)
    await host.settled()
    kept = list(states)
    assert 0 < len(kept) < 4
    assert [each.owner.client for each in kept] == ["d", "c", "b", "a"][: len(kept)]
    assert sum(each.state.nbytes for each in kept) <= 1_500_000


async def test_a_few_tokens_are_not_copied(host: LocalEngine, prompts: PromptModel) -> None:
    await run_request(host.beside("goes"), request(prompts, "a", 20))
    host.worker.leave("goes")
    await host.settled()
    assert list(host.worker.sequences.states) == []
