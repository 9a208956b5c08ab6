"""Replies that several servers share, valid ones and those that gateways have changed."""

from __future__ import annotations

import pytest

from starcoder_lsp.engine.remote.endpoint import endpoint_of
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.replies import model_rows, tokenized, usage_of
from starcoder_lsp.engine.stream import Usage
from starcoder_lsp.engine_settings import EngineSettings
from tests.scripted_server import scripted_server


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
