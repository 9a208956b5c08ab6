"""Ollama, Text Generation Inference and OpenAI's completions, against exchanges made from documentation.

The first two are in no package registry, so their exchanges follow Ollama's `docs/api.md`
("Generate a completion", raw mode) and TGI's `/generate_stream`. Requests are compared with those pages field by field.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import Cancellation, EngineError, EngineLostError, GenerationRequest, Sampling
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.vocabulary import read_vocabulary
from tests.scripted_server import Reply, ScriptedServer, scripted_server
from tests.unit.remote_engine import (
    BEFORE,
    BEHIND,
    engine_at,
    event,
    own_state,  # noqa: F401  a fixture of every test here
    run_request,
)

TEXT = "return total(x)[0]"
IDS = read_vocabulary(DEMONSTRATOR)[1].encode(TEXT.encode())
PIECES = [read_vocabulary(DEMONSTRATOR)[1].piece(token_id).decode() for token_id in IDS]
PROMPT = "<fim_prefix>def f(x):\n    <fim_suffix>\n<fim_middle>"
STARCODER = "starcoder2:3b"
OLLAMA = {
    "/api/tags": {"models": [{"name": STARCODER, "size": 1_710_000_000}]},
    "/api/show": {"model_info": {"general.architecture": "starcoder2", "starcoder2.context_length": 16_384}},
}
TGI = {
    "/info": {"model_id": "bigcode/starcoder2-3b", "max_input_tokens": 4095, "max_total_tokens": 4096},
    "/tokenize": [],
}
OPENAI = {"/v1/models": {"object": "list", "data": [{"id": "starcoder2-3b", "object": "model"}]}}


def ollama_answer(pieces: list[str], reason: str = "stop") -> list[bytes]:
    common = {"model": STARCODER, "created_at": "2026-11-27T09:00:00Z"}
    last = {"done": True, "done_reason": reason, "prompt_eval_count": 12, "eval_count": len(pieces)}
    return [
        *(json.dumps({**common, "response": piece, "done": False}).encode() + b"\n" for piece in pieces),
        json.dumps({**common, "response": "", **last}).encode() + b"\n",
    ]


def tgi_answer(ids: tuple[int, ...], reason: str = "eos_token") -> list[bytes]:
    pieces = read_vocabulary(DEMONSTRATOR)[1].pieces
    events = []
    for n, token_id in enumerate(ids):
        token = {"id": token_id, "text": pieces[token_id].decode(), "logprob": -0.5, "special": not pieces[token_id]}
        is_last = n == len(ids) - 1
        details = {"finish_reason": reason, "generated_tokens": len(ids), "input_length": 12} if is_last else None
        events.append(
            event({"index": n + 1, "token": token, "generated_text": TEXT if is_last else None, "details": details})
        )
    return events


def openai_answer(pieces: list[str], reason: str = "stop", *, logprobs: bool = True) -> list[bytes]:
    def choice(text: str, end: str | None) -> dict[str, Any]:
        said = {"tokens": [text], "token_logprobs": [-0.5]} if logprobs and text else None
        return {"choices": [{"index": 0, "text": text, "logprobs": said, "finish_reason": end}]}

    return [*(event(choice(piece, None)) for piece in pieces), event(choice("", reason)), b"data: [DONE]\n\n"]


ANSWERS = {
    "ollama": (OLLAMA, ollama_answer(PIECES)),
    "tgi": (TGI, tgi_answer((*IDS, 0))),
    "openai": (OPENAI, openai_answer(PIECES)),
}
KINDS = pytest.mark.parametrize("kind", ANSWERS)


@KINDS
async def test_an_answer_has_the_text_of_its_events(kind: str) -> None:
    pages, chunks = ANSWERS[kind]
    async with scripted_server(pages, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        generation = await run_request(engine)
        assert generation.written[0].text.decode() == TEXT
        assert generation.written[0].stop_reason == "stop_token"
        assert not generation.is_counted
        assert set(generation.written[0].logprobs) == ({0.0} if kind == "ollama" else {-0.5})


@KINDS
async def test_answers_ended_by_the_server_share_a_connection(kind: str) -> None:
    pages, chunks = ANSWERS[kind]
    async with scripted_server(pages, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        for _ in range(3):
            assert (await run_request(engine)).written[0].text.decode() == TEXT
            await asyncio.gather(*engine._tasks)
        assert (len(server.posts), server.n_connections) == (3, 1)


@KINDS
async def test_a_word_is_healed_by_a_second_request_if_necessary(kind: str) -> None:
    pages, chunks = ANSWERS[kind]
    async with scripted_server(pages, Reply(chunks), Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        assert (await run_request(engine, heal=b"retu")).written[0].text.decode() == TEXT[4:]
        assert prompt_in(server, -1) == PROMPT
        assert (await run_request(engine, heal=b"yield ")).written[0].text.decode() == TEXT
        assert prompt_in(server, -1) == PROMPT + "yield "


def prompt_in(server: ScriptedServer, n: int) -> str:
    body = server.posts[n].body
    return str(body["inputs"] if "inputs" in body else body["prompt"])


@KINDS
async def test_requests_have_exactly_the_documented_fields(kind: str) -> None:
    pages, chunks = ANSWERS[kind]
    async with scripted_server(pages, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        await run_request(engine)
        await sample(engine)
        plain, sampled = (post.body for post in server.posts)
    stops = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"]
    if kind == "ollama":
        options = {"temperature": 0.0, "seed": 0, "num_predict": 32, "stop": stops, "num_ctx": 4096}
        fixed = {"model": STARCODER, "raw": True, "stream": True, "keep_alive": "30m", "truncate": False}
        assert plain == {**fixed, "prompt": PROMPT, "options": options}
        assert (sampled["options"]["temperature"], sampled["options"]["seed"]) == (0.7, 3)
        assert not {"context", "system", "template", "suffix"} & plain.keys()
    elif kind == "tgi":
        fixed = {"max_new_tokens": 32, "details": True, "return_full_text": False}
        assert plain == {"inputs": PROMPT, "parameters": {**fixed, "stop": stops, "seed": 0}}
        assert sampled["parameters"]["temperature"] == 0.7
        assert sampled["parameters"]["do_sample"] is True
    else:
        fixed = {"model": "starcoder2-3b", "max_tokens": 32, "stream": True, "logprobs": 1}
        optional = {"seed": 0, "stop": stops, "stream_options": {"include_usage": True}}
        assert plain == {**fixed, **optional, "prompt": PROMPT, "temperature": 0.0}
        assert "suffix" not in plain


async def sample(engine: RemoteEngine) -> None:
    encode = engine.prompts.tokenizer.encode
    prompt = engine.prompts.fim.infill(encode(BEFORE), encode(BEHIND))
    request = evolve(GenerationRequest("d", prompt, 32, 5000), sampling=Sampling(0.7, 3))
    await generate(engine, request, engine.prompts.tokenizer.piece, lambda _text: None, Cancellation())


@KINDS
async def test_the_token_limit_is_reported_as_stop_reason(kind: str) -> None:
    pages, _ = ANSWERS[kind]
    chunks = {
        "ollama": ollama_answer(PIECES, "length"),
        "tgi": tgi_answer(IDS, "length"),
        "openai": openai_answer(PIECES, "length"),
    }[kind]
    async with scripted_server(pages, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        written = (await run_request(engine)).written[0]
        assert (written.text.decode(), written.stop_reason) == (TEXT, "max_tokens")


@pytest.mark.parametrize("kind", ["ollama", "openai"])
@pytest.mark.parametrize("end", ["<fim_prefix>", "<file_sep>", "\N{REPLACEMENT CHARACTER}"])
async def test_a_marker_or_an_incomplete_character_ends_a_text(kind: str, end: str) -> None:
    pages, _ = ANSWERS[kind]
    pieces = [*PIECES, f" # x{end}secret", "more"]
    chunks = ollama_answer(pieces) if kind == "ollama" else openai_answer(pieces)
    async with scripted_server(pages, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        assert (await run_request(engine)).written[0].text.decode() == TEXT + " # x"


@pytest.mark.parametrize("end", [{"text": None}, {}, {"text": ""}], ids=["null", "left out", "empty"])
async def test_the_end_of_an_answer_may_have_no_text(end: dict[str, Any]) -> None:
    last = event({"choices": [{"index": 0, "finish_reason": "stop", **end}]})
    async with (
        scripted_server(OPENAI, Reply([*openai_answer(PIECES)[:-2], last])) as server,
        engine_at(server, kind="openai") as engine,
    ):
        written = (await run_request(engine)).written[0]
        assert (written.text.decode(), written.stop_reason) == (TEXT, "stop_token")


async def test_fields_that_a_server_refuses_are_not_sent_again() -> None:
    refusal = Reply([json.dumps({"error": {"message": "logprobs is not supported"}}).encode()], 422)
    answer = Reply(openai_answer(PIECES, logprobs=False))
    async with (
        scripted_server(OPENAI, refusal, answer, answer) as server,
        engine_at(server, kind="openai") as engine,
    ):
        for _ in range(2):
            assert (await run_request(engine)).written[0].text.decode() == TEXT
        first, *others = (post.body for post in server.posts)
        assert len(others) == 2
        assert first.keys() - others[0].keys() == {"seed", "stop", "logprobs", "stream_options"}
        assert others[0] == others[1]


async def test_requests_at_once_are_each_sent_again_without_refused_fields() -> None:
    refusal = Reply([json.dumps({"error": {"message": "logprobs is not supported"}}).encode()], 422)
    answer = Reply(openai_answer(PIECES, logprobs=False))
    async with scripted_server(OPENAI, refusal, answer) as server, engine_at(server, kind="openai") as engine:
        asking = asyncio.ensure_future(run_request(engine))
        await server.requested.wait()
        engine._is_plain = True  # the other request was refused first
        assert (await asking).written[0].text.decode() == TEXT
        assert ["stop" in post.body for post in server.posts] == [True, False]


async def test_a_prompt_that_is_too_long_is_never_cut_by_ollama() -> None:
    refusal = Reply([b'{"error": "the input length exceeds the context length"}'], 400)
    async with (
        scripted_server(OLLAMA, refusal, Reply(ollama_answer(PIECES))) as server,
        engine_at(server, kind="ollama") as engine,
    ):
        with pytest.raises(EngineError, match="exceeds"):
            await run_request(engine)
        assert (await run_request(engine)).written[0].text.decode() == TEXT
        assert [post.body["truncate"] for post in server.posts] == [False, False]


@pytest.mark.parametrize("kind", ["openai", "vllm"])
async def test_an_event_without_choices_ends_no_answer(kind: str) -> None:
    begun = [{"text": PIECES[0], "token_ids": [IDS[0]], "finish_reason": None}]
    chunks = [event({"choices": [], "prompt_filter_results": []}), event({"choices": begun})]
    async with scripted_server(OPENAI, Reply(chunks)) as server, engine_at(server, kind=kind) as engine:
        with pytest.raises(EngineLostError, match="broke off"):
            await run_request(engine)


@KINDS
@pytest.mark.parametrize("n_bytes", [1, 40, 200])
async def test_a_stream_that_is_cut_is_an_error(kind: str, n_bytes: int) -> None:
    pages, chunks = ANSWERS[kind]
    cut = Reply([b"".join(chunks)[:n_bytes]], is_cut=True)
    async with scripted_server(pages, cut) as server, engine_at(server, kind=kind) as engine:
        with pytest.raises(EngineLostError):
            await run_request(engine)
