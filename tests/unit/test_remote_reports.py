"""What a user is told of a remote engine: refusals, addresses, keys, hosts, models and their limits."""

from __future__ import annotations

import asyncio
import json

import pytest

from starcoder_lsp.engine.engine import (
    EngineError,
    EngineLostError,
    GenerationRequest,
)
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote import breaker
from starcoder_lsp.engine.remote.breaker import MAX_FAILURES
from starcoder_lsp.engine.remote.opening import connect, opened_remote
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.settings import Settings
from tests.scripted_server import Reply, scripted_server
from tests.unit.remote_engine import (
    BEFORE,
    IDS,
    MODELS,
    TEXT,
    UserMessages,
    engine_at,
    events_of,
    own_state,  # noqa: F401  a fixture of every test here
    run_request,
)


async def test_a_kind_of_refusal_is_reported_once_whatever_is_answered_in_between() -> None:
    def refusal(message: str, status: int) -> Reply:
        return Reply([json.dumps({"error": {"message": message}}).encode()], status)

    user, answer = UserMessages(), Reply(events_of(IDS))
    replies = [refusal("3000 tokens are too many", 400), refusal("3001 tokens are too many", 400), refusal("no", 404)]
    each = [reply for refused in replies for reply in (refused, answer)]
    async with scripted_server(MODELS, *each) as server, engine_at(server, user) as engine:
        for _ in replies:
            with pytest.raises(EngineError):
                await run_request(engine)
            assert (await run_request(engine)).written[0].text == TEXT
        assert ["3000" in user.messages[1], "(404)" in user.messages[2]] == [True, True]
        assert len(user.messages) == 3


async def test_a_refused_request_is_reported_once_and_the_engine_is_not_away() -> None:
    user, refusal = UserMessages(), Reply([json.dumps({"error": {"message": "prompt too long"}}).encode()], 400)
    async with scripted_server(MODELS, refusal) as server, engine_at(server, user) as engine:
        for _ in range(2 * MAX_FAILURES):
            with pytest.raises(EngineError, match="prompt too long"):
                await run_request(engine)
        assert not engine.breaker.is_away
        assert [message for message in user.messages if "prompt too long" in message] == user.messages[1:]
        assert len(user.messages) == 2


PYDANTIC = "1 error: {{'msg': 'no', 'input': {{'model': 'm', 'prompt': {!r}}}}}"


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("prompt too long", "prompt too long"),
        (f"no such model, {'x' * 300}", f"no such model, {'x' * 185}"),
        ("bad key sk-secret", "bad key …"),
        ("x" * 195 + "sk-secret", "x" * 195 + "…"),
        ("sk-secret" * 30 + " def f(x):\n    <fim_suffix>", "…" * 30 + " …"),
        (PYDANTIC.format("def f(x):\n    <fim_suffix>"), "1 error: {'msg': 'no', 'input': {'model': 'm', 'prompt': '…"),
        ("cannot read def f(x):\n    <fim_suffix>", "cannot read …"),
        ("two\nlines \x1b[31m", "two?lines ?[31m"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("n_bytes", [7, 1000])
async def test_a_refusal_is_quoted_without_key_and_prompt_however_it_is_cut(
    said: str, quoted: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "sk-secret")
    body = json.dumps({"error": {"message": said}}).encode()
    refusal = Reply([body[at : at + n_bytes] for at in range(0, len(body), n_bytes)], 400)
    async with (
        scripted_server(MODELS, refusal) as server,
        engine_at(server, api_key_env="TEAM_KEY", prompt_form="text") as engine,
    ):
        with pytest.raises(EngineError) as raised:
            await run_request(engine)
        assert str(raised.value).partition(" (400): ")[2] == quoted


@pytest.mark.parametrize("said", [b"<html>404</html>", b'{"detail": "Not Found"}', b""])
async def test_a_page_that_is_not_there_brings_advice(said: bytes) -> None:
    values = {"kind": "vllm", "vocabulary": str(DEMONSTRATOR)}
    async with scripted_server({}, Reply([said] if said else [], 404)) as server:
        with pytest.raises(EngineError, match=r"check engine\.url, engine\.kind and engine\.model$"):
            await connect(Settings(engine=EngineSettings(url=server.url, **values)))


async def test_ids_of_a_prompt_are_not_quoted() -> None:
    async with scripted_server(MODELS) as server, engine_at(server) as engine:
        ids = engine.prompts.tokenizer.encode(BEFORE * 3)
        said = PYDANTIC.format(list(ids))
        server.replies.append(Reply([json.dumps({"error": said}).encode()], 400))
        prompt = engine.prompts.fim.infill(ids, ())
        with pytest.raises(EngineError, match=r"'prompt': \[…$"):
            await engine.generate(GenerationRequest("d", prompt, 4, 5000)).ended()


@pytest.mark.parametrize("url", ["https://-\u2603.invalid", "http://[v1.a]", f"https://a.invalid/{'b' * 70_000}"])
async def test_an_address_that_no_client_can_use_is_an_error(url: str) -> None:
    values = {"kind": "vllm", "url": url, "vocabulary": str(DEMONSTRATOR), "allow_http": True}
    with pytest.raises(EngineError, match="looks like https"):
        await connect(Settings(engine=EngineSettings(**values)))


async def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "sk-secret")
    user = UserMessages()
    async with (
        scripted_server(MODELS, Reply([b'{"error": "bad key sk-secret"}'], 401)) as server,
        engine_at(server, user, api_key_env="TEAM_KEY") as engine,
    ):
        for _ in range(MAX_FAILURES):
            with pytest.raises(EngineLostError, match="refuses the key"):
                await run_request(engine)
        assert server.posts[0].headers["authorization"] == "Bearer sk-secret"
        assert "sk-secret" not in "".join([*user.messages, *user.states, repr(engine)])


async def test_a_host_is_named_once_before_the_first_prompt() -> None:
    user = UserMessages()
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server:
        for _ in range(2):
            async with engine_at(server, user):
                assert not server.posts
        assert len(user.messages) == 1
        assert f"127.0.0.1:{server.port}" in user.messages[0]


async def test_a_benchmark_leaves_the_message_about_its_host_to_the_editor() -> None:
    user = UserMessages()
    async with scripted_server(MODELS) as server:
        values = {"kind": "llama-server", "url": server.url, "vocabulary": str(DEMONSTRATOR)}
        async with opened_remote(Settings(engine=EngineSettings(**values))):
            pass
        async with engine_at(server, user):
            assert len(user.messages) == 1


async def test_another_vocabulary_is_an_error_before_the_first_prompt() -> None:
    async with scripted_server({**MODELS, "/tokenize": {"tokens": [1, 2, 3]}}) as server:
        with pytest.raises(EngineError, match="another vocabulary"):
            async with engine_at(server):
                pass


async def test_the_state_has_the_newest_reason_why_an_engine_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MIN_PAUSE_S", 0.01)
    user, away, refused = UserMessages(), Reply([b""], 503, {"Retry-After": "0.01"}), Reply([b""], 401)
    async with scripted_server(MODELS, away, away, refused) as server, engine_at(server, user) as engine:
        with pytest.raises(EngineLostError):
            await run_request(engine)
        async with asyncio.timeout(30):
            while len(user.states) < 2:
                user.changed.clear()
                await user.changed.wait()
        assert ["503" in user.states[0], "wants a key" in user.states[1]] == [True, True]
        assert len(user.messages) == 2, "which host sees source text, and that it is away"


@pytest.mark.parametrize("rows", [[], [{"id": "a"}, {"id": "b"}], [{"id": "a\n\x1b[31m"}, {"id": "b"}]])
async def test_a_model_must_be_named_unless_there_is_exactly_one(rows: list[dict[str, str]]) -> None:
    async with scripted_server({"/v1/models": {"data": rows}}) as server:
        with pytest.raises(EngineError, match="set engine") as raised:
            async with engine_at(server):
                pass
        assert not isinstance(raised.value, EngineLostError)
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("starcoder2-3b", "starcoder2-3b"),
        ("bigcode/starcoder2-3b", "bigcode/starcoder2-3b"),
        ("/home/alice/models/starcoder2.gguf", "starcoder2.gguf"),
        ("C:\\Users\\alice\\starcoder2.gguf", "starcoder2.gguf"),
    ],
)
async def test_a_path_on_the_server_is_requested_and_not_shown(model: str, name: str) -> None:
    pages = {**MODELS, "/v1/models": {"data": [{"id": model}]}}
    async with scripted_server(pages, Reply(events_of(IDS))) as server, engine_at(server) as engine:
        await run_request(engine)
        assert engine.prompts.name == f"{name} at 127.0.0.1:{server.port}"
        assert server.posts[0].body["model"] == model


async def test_the_doctor_names_the_host_the_model_and_the_engines_limits() -> None:
    from starcoder_lsp.cli.doctor.engine import look_at_engine

    async with scripted_server(MODELS) as server:
        values = {"kind": "openai", "url": server.url, "vocabulary": str(DEMONSTRATOR)}
        found = await asyncio.to_thread(look_at_engine, Settings(engine=EngineSettings(**values)))
        assert found is not None
        assert found.host == f"127.0.0.1:{server.port}"
        assert found.model == f"starcoder2-3b at {found.host}"
        assert any("minConfidence" in limit for limit in found.limits)
        assert not server.posts, "no source text"
        wrong = EngineSettings(kind="openai", url=server.url, vocabulary="/nowhere")
        broken = await asyncio.to_thread(look_at_engine, Settings(engine=wrong))
        assert broken is not None
        assert "engine.vocabulary" in broken.problem
    disconnected = await asyncio.to_thread(look_at_engine, Settings(engine=EngineSettings(**values)))
    assert disconnected is not None
    assert "cannot be reached" in disconnected.problem
    assert look_at_engine(Settings()) is None
