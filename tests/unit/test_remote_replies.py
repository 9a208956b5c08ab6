"""Replies that several servers share, valid ones and those that gateways have changed."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote.adapters import adapter_for
from starcoder_lsp.engine.remote.answer import AnswerReader
from starcoder_lsp.engine.remote.endpoint import endpoint_of
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import About
from starcoder_lsp.engine.remote.replies import model_rows, tokenized, usage_of
from starcoder_lsp.engine.stream import Usage
from starcoder_lsp.engine.vocabulary import read_vocabulary
from starcoder_lsp.engine_settings import EngineSettings
from tests.scripted_server import scripted_server
from tests.unit.remote_engine import MODELS, events_of
from tests.unit.test_remote_recorded import IDS, OLLAMA, OPENAI, PIECES, TGI, ollama_answer, openai_answer, tgi_answer

ODD: list[Any] = [None, True, -1, 1.5, math.inf, -math.inf, math.nan, "", "x", "\ud83d", [], [None], {}, [{}]]
"""Values that no server sends in place of another, and any gateway may."""
USAGE = {"completion_tokens": 1, "prompt_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}}
SPED = {"cache_n": 0, "prompt_n": 100, "prompt_per_second": 50.0}
VLLM_CHOICE = {"text": "a", "token_ids": [5], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": "stop"}
PAGES: dict[str, dict[str, Any]] = {
    "llama-server": {**MODELS, "/tokenize": {"tokens": [5]}},
    "vllm": {"/v1/models": {"data": [{"id": "a", "max_model_len": 1024}]}, "/tokenize": {"tokens": [5]}},
    "openai": OPENAI,
    "ollama": OLLAMA,
    "tgi": {**TGI, "/tokenize": [{"id": 5}]},
}
EVENTS: dict[str, list[Any]] = {
    "llama-server": [{**json.loads(each[6:]), "timings": SPED} for each in events_of(IDS)[-2:]],
    "vllm": [{"choices": [VLLM_CHOICE], "usage": USAGE}, {"choices": [], "usage": USAGE}],
    "openai": [json.loads(each[6:]) for each in openai_answer(PIECES)[-3:-1]],
    "ollama": [json.loads(each) for each in ollama_answer(PIECES)[-2:]],
    "tgi": [json.loads(each[6:]) for each in tgi_answer(IDS)[-2:]],
}
KINDS = pytest.mark.parametrize("kind", PAGES)


def changed(value: Any) -> Iterator[Any]:
    """Yield a value with each odd one in place of each of its parts."""
    yield from ODD
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        for part in changed(value[key]):
            whole = copy.copy(value)
            whole[key] = part
            yield whole


@KINDS
def test_an_odd_event_is_read_or_is_an_error_of_the_engine(kind: str) -> None:
    adapter = adapter_for(endpoint_of(EngineSettings(kind=kind, url="https://gpu"), {}), "a", 1024)
    tokenizer = read_vocabulary(DEMONSTRATOR)[1]
    for event in (event for each in EVENTS[kind] for event in changed(each) if isinstance(event, dict)):
        try:
            part = adapter.read(event)
            tokens = AnswerReader(tokenizer, frozenset({0}), 10).take(part)
        except EngineError:
            continue
        assert math.isfinite(part.prefill_speed)
        assert all(math.isfinite(token.logprob) for token in tokens)


@pytest.mark.parametrize("kind", ["vllm", "openai"])
@pytest.mark.parametrize(
    ("reason", "end"), [(None, ""), ("", ""), ("length", "length"), ("stop", "stop"), ("repetition", "stop")]
)
def test_the_reason_for_an_end_is_read(kind: str, reason: str | None, end: str) -> None:
    adapter = adapter_for(endpoint_of(EngineSettings(kind=kind, url="https://gpu"), {}), "a", 1024)
    assert adapter.read({"choices": [{**VLLM_CHOICE, "finish_reason": reason}]}).end == end
    with pytest.raises(BadAnswerError, match="broke off"):  # vLLM shuts down
        adapter.read({"choices": [{**VLLM_CHOICE, "token_ids": [], "finish_reason": "abort"}]})


@KINDS
async def test_an_odd_page_is_read_or_is_an_error_of_the_engine(kind: str) -> None:
    async with scripted_server({}) as server:
        endpoint = endpoint_of(EngineSettings(kind=kind, url=server.url), {})
        http = Http(endpoint)
        for pages in changed(PAGES[kind]):
            if not isinstance(pages, dict):
                continue
            server.pages = {**PAGES[kind], **pages}
            adapter = adapter_for(endpoint, "", 1024)
            try:
                about = await adapter.describe(http)
                ids = await adapter.tokenize(http, "x")
            except EngineError:
                continue
            assert about.n_context >= 0
            assert ids is None or all(isinstance(each, int) for each in ids)
        await http.close()


@KINDS
async def test_a_server_without_tokenize_is_used(kind: str) -> None:
    async with scripted_server({**PAGES[kind], "/tokenize": None}) as server:
        endpoint = endpoint_of(EngineSettings(kind=kind, url=server.url), {})
        http = Http(endpoint)
        assert await adapter_for(endpoint, "", 0).tokenize(http, "x") is None
        await http.close()


@pytest.mark.parametrize(
    ("n_prompt", "n_cached", "usage"),
    [
        (100, 90, Usage(90, 10, is_complete=True)),
        (100, 0, Usage(0, 100, is_complete=True)),
        (0, 0, Usage(0, 0, is_complete=True)),
        (90, 100, Usage(100, 0, is_complete=True)),
        (100, None, None),
        (100, "90", None),
        (None, 90, None),
        ("100", 90, None),
    ],
)
def test_usage_is_read(n_prompt: object, n_cached: object, usage: Usage | None) -> None:
    reply = {"prompt_tokens": n_prompt, "prompt_tokens_details": {"cached_tokens": n_cached}}
    assert usage_of(reply) == usage


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        "usage",
        {},
        {"prompt_tokens": 9},
        {"prompt_tokens": 9, "prompt_tokens_details": None},
        {"prompt_tokens": 9, "prompt_tokens_details": [1]},
    ],
    ids=range(7),
)
def test_invalid_usage_is_ignored(reply: object) -> None:
    assert usage_of(reply) is None


@pytest.mark.parametrize("reply", [None, [], "models", {}, {"data": None}, {"data": {"id": "a"}}, {"data": [{}, "a"]}])
def test_a_reply_without_a_list_of_models_is_empty(reply: object) -> None:
    with pytest.raises(BadAnswerError, match=r"^/v1/models answered no list of models$"):
        model_rows(reply)


@pytest.mark.parametrize("rows", [[], [{"id": "a"}, {"id": "b"}]])
def test_a_list_of_models_is_read(rows: list[dict[str, str]]) -> None:
    assert model_rows({"object": "list", "data": rows}) == rows


@pytest.mark.parametrize(
    ("lengths", "name", "n_context"),
    [
        ({"a": 1024, "b": 2048}, "a", 1024),
        ({"a": 1024}, "any name", 1024),
        ({"base": 1024, "adapter": None}, "adapter", 1024),
        ({"a": 1024, "b": 1024}, "c", 1024),
        ({"a": 1024, "b": 2048}, "c", 0),
        ({"a": 1024, "b": None, "c": 2048}, "b", 0),
        ({"a": None}, "a", 0),
        ({}, "a", 0),
    ],
)
@pytest.mark.parametrize(
    ("kind", "spelled"),
    [
        ("llama-server", lambda length: {"meta": {"n_ctx": length}}),
        ("vllm", lambda length: {"max_model_len": length}),
        *(
            ("openai", spelled)
            for spelled in (
                lambda length: {"meta": {"n_ctx": length}},
                lambda length: {"max_model_len": length, "meta": None},
                lambda length: {"max_context_length": length},
            )
        ),
    ],
)
async def test_the_context_is_that_of_the_named_model(
    kind: str, spelled: Any, lengths: dict[str, int | None], name: str, n_context: int
) -> None:
    rows = [{"id": each, **spelled(length)} for each, length in lengths.items()]
    async with scripted_server({"/v1/models": {"data": rows}}) as server:
        endpoint = endpoint_of(EngineSettings(kind=kind, url=server.url), {})
        http = Http(endpoint)
        assert await adapter_for(endpoint, name, 0).describe(http) == About(name, n_context)
        await http.close()


@pytest.mark.parametrize(
    ("page", "ids"),
    [
        ({"tokens": [5, 6]}, (5, 6)),
        ({"tokens": []}, ()),
        ({}, None),
        ([5], None),
        ({"tokens": "5"}, None),
        (None, None),
    ],
)
async def test_ids_of_a_tokenized_text_are_read(page: object, ids: tuple[int, ...] | None) -> None:
    async with scripted_server({"/tokenize": page}) as server:
        http = Http(endpoint_of(EngineSettings(kind="vllm", url=server.url), {}))
        try:
            assert await tokenized(http, {"prompt": "text"}) == ids
        finally:
            await http.close()
