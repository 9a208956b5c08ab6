"""A remote engine over a faulty network: each request ends once, and never with a wrong text."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from starcoder_lsp import authorities
from starcoder_lsp.engine.engine import (
    Cancellation,
    EngineError,
    EngineLostError,
    Generation,
    GenerationRequest,
    StopRule,
)
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote import breaker, disclosure
from starcoder_lsp.engine.remote.breaker import MAX_FAILURES
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.remote.opening import connect, open_remote, opened_remote
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.settings import Settings
from tests.engines.far_away import certificates
from tests.scripted_server import HANG, Reply, ScriptedServer, scripted_server

MODELS = {"/v1/models": {"data": [{"id": "starcoder2-3b", "meta": {"n_ctx": 1024}}]}, "/tokenize": None}
TEXT = b"return total(x)[0]"
BEFORE, BEHIND = b"def f(x):\n    ", b"\n"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the file that lists the hosts of which this user was told."""
    monkeypatch.setattr(disclosure, "state_file", lambda: tmp_path / "disclosed-hosts.json")


class UserMessages:
    """The messages and states that a user was shown."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.states: list[str] = []
        self.changed = asyncio.Event()

    def state(self, state: str) -> None:
        self.states.append(state)
        self.changed.set()


@asynccontextmanager
async def engine_at(
    server: ScriptedServer, user: UserMessages | None = None, **given: object
) -> AsyncIterator[RemoteEngine]:
    user = user or UserMessages()
    values = {"kind": "llama-server", "url": server.url, "vocabulary": str(DEMONSTRATOR), "timeout_ms": 2000, **given}
    _prompts, engine = await open_remote(Settings(engine=EngineSettings(**values)), user.messages.append, user.state)
    try:
        yield engine
    finally:
        await engine.close()


async def run_request(
    engine: RemoteEngine,
    heal: bytes = b"",
    max_tokens: int = 32,
    cancellation: Cancellation | None = None,
    rule: StopRule = lambda _text: None,
    timeout_ms: float = 5000,
) -> Generation:
    encode = engine.prompts.tokenizer.encode
    prompt = engine.prompts.fim.infill(encode(BEFORE), encode(BEHIND), (), heal)
    request = GenerationRequest("file:///a.py", prompt, max_tokens, timeout_ms)
    piece = engine.prompts.tokenizer.piece
    return await generate(engine, request, piece, rule, cancellation or Cancellation())


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def events_of(ids: Sequence[int], *, n_cached: int = 90, n_prompt: int = 10) -> list[bytes]:
    """Return the events of llama.cpp's server: one for each token, and the last one with counts."""
    timings = {"cache_n": n_cached, "prompt_n": n_prompt}
    return [
        *(
            event(
                {
                    "content": "",
                    "tokens": [token_id],
                    "stop": False,
                    "tokens_predicted": n + 1,
                    "timings": timings,
                    "completion_probabilities": [{"id": token_id, "logprob": -0.25}],
                }
            )
            for n, token_id in enumerate(ids)
        ),
        event({"stop": True, "stop_type": "eos", "tokens_predicted": len(ids), "timings": timings}),
    ]


@pytest.fixture(scope="module")
def ids() -> tuple[int, ...]:
    from starcoder_lsp.engine.vocabulary import read_vocabulary

    return read_vocabulary(DEMONSTRATOR)[1].encode(TEXT)


async def test_an_answer_has_text_counts_and_log_probabilities(ids: tuple[int, ...]) -> None:
    async with scripted_server(MODELS, Reply(events_of(ids))) as server, engine_at(server) as engine:
        generation = await run_request(engine)
        (written,) = generation.written
        assert (written.text, written.ids, written.stop_reason) == (TEXT, ids, "stop_token")
        assert written.logprobs == (-0.25,) * len(ids)
        assert (generation.n_reused, generation.n_evaluated, generation.is_counted) == (90, 10, True)
        assert engine.prompts.name == f"starcoder2-3b at 127.0.0.1:{server.port}"
        assert engine.prompts.n_context == 1024


async def test_a_stream_in_single_bytes_gives_the_same_answer(ids: tuple[int, ...]) -> None:
    bytes_one_by_one = [bytes([byte]) for byte in b"".join(events_of(ids))]
    async with scripted_server(MODELS, Reply(bytes_one_by_one)) as server, engine_at(server) as engine:
        assert (await run_request(engine)).written[0].text == TEXT


async def test_repeated_events_are_ignored(ids: tuple[int, ...]) -> None:
    twice = [chunk for chunk in events_of(ids) for _ in range(2)]
    async with scripted_server(MODELS, Reply(twice)) as server, engine_at(server) as engine:
        assert (await run_request(engine)).written[0].text == TEXT


ERROR = event({"error": {"message": "def secret(): pass"}})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cut", lambda chunks: Reply(chunks[:2], is_cut=True)),
        ("ended early", lambda chunks: Reply(chunks[:2])),
        ("half a line", lambda chunks: Reply([*chunks[:2], chunks[2][:20]])),
        ("lost in the middle", lambda chunks: Reply([chunks[0], *chunks[2:]])),
        ("wrong JSON", lambda chunks: Reply([*chunks[:1], b"data: {nonsense\n\n"])),
        ("not an object", lambda chunks: Reply([*chunks[:1], b"data: 7\n\n"])),
        ("no ids", lambda _chunks: Reply([event({"content": "x", "stop": False})])),
        ("an id beyond the vocabulary", lambda _chunks: Reply(events_of([10**6]))),
        ("an error in the stream", lambda chunks: Reply([*chunks[:1], ERROR])),
        ("a line without end", lambda chunks: Reply([*chunks[:1], *[b"x" * 2**18] * 5, HANG])),
        ("500", lambda _chunks: Reply([b"oops"], 500)),
        ("502 with a page", lambda _chunks: Reply([b"<html>def secret(): pass</html>"], 502)),
        ("429", lambda _chunks: Reply([b""], 429)),
        ("a page with 200", lambda _chunks: Reply([b"<html>sign in</html>"])),
        ("elsewhere", lambda _chunks: Reply([b""], 302, {"Location": "http://127.0.0.1:1/"})),
        ("401", lambda _chunks: Reply([b"{}"], 401)),
        ("silence", lambda chunks: Reply([*chunks[:1], HANG])),
        ("silence at once", lambda _chunks: Reply([HANG])),
    ],
)
async def test_every_fault_of_the_network_is_one_error_without_text(
    name: str, change: Any, ids: tuple[int, ...]
) -> None:
    user, patience_ms = UserMessages(), 300 if "silence" in name else 5000
    async with (
        scripted_server(MODELS, change(events_of(ids))) as server,
        engine_at(server, user, timeout_ms=patience_ms) as engine,
    ):
        for _ in range(MAX_FAILURES):
            with pytest.raises(EngineLostError) as raised:
                await run_request(engine)
            assert "secret" not in str(raised.value)
        n_asked = len(server.posts)
        with pytest.raises(EngineLostError, match="is away"):  # no more requests are sent
            await run_request(engine)
        assert len(server.posts) == n_asked
        assert len(user.states) == 1, "one change of state"
        assert len(user.messages) == 2, "which host sees source text, and that it is away"
        assert "secret" not in "".join(user.messages)


@pytest.mark.parametrize("timeout_ms", [50, 100], ids=["shorter", "equal"])
async def test_a_silent_engine_is_away_although_deadlines_are_short(timeout_ms: float) -> None:
    user = UserMessages()
    async with scripted_server(MODELS, Reply([HANG])) as server, engine_at(server, user) as engine:
        engine.http.endpoint = evolve(engine.http.endpoint, timeout_s=0.1)
        async with asyncio.timeout(30):
            while not engine.breaker.is_away:
                with suppress(EngineLostError):
                    await run_request(engine, timeout_ms=timeout_ms)
        assert len(server.posts) >= MAX_FAILURES
        assert user.states == [f"127.0.0.1:{server.port} did not answer within 0.1 s"]


async def test_requests_that_were_superseded_say_nothing_about_the_engine() -> None:
    async with scripted_server(MODELS, Reply([HANG])) as server, engine_at(server) as engine:
        engine.http.endpoint = evolve(engine.http.endpoint, timeout_s=0.001)
        for n in range(2 * MAX_FAILURES):
            cancellation = Cancellation()
            asking = asyncio.ensure_future(run_request(engine, cancellation=cancellation))
            while len(server.posts) == n:
                await server.requested.wait()
                server.requested.clear()
            cancellation.cancel()
            await asking
        assert not engine.breaker.is_away


async def test_an_engine_that_was_away_is_used_again_without_a_request(ids: tuple[int, ...]) -> None:
    user = UserMessages()
    async with (
        scripted_server(MODELS, Reply([b""], 503, {"Retry-After": "0.01"}), Reply(events_of(ids))) as server,
        engine_at(server, user) as engine,
    ):
        with pytest.raises(EngineLostError):
            await run_request(engine)
        assert engine.breaker.is_away
        async with asyncio.timeout(30):
            while len(user.states) < 2:
                user.changed.clear()
                await user.changed.wait()
        assert user.states[1] == ""
        assert server.posts[1].body["n_predict"] == 1, "the probe costs one token"
        assert (await run_request(engine)).written[0].text == TEXT


async def test_an_answer_that_the_reader_leaves_is_a_success(ids: tuple[int, ...]) -> None:
    first, *_ = events_of(ids, n_prompt=100)
    begun = first.replace(b'"prompt_n": 100', b'"prompt_n": 100, "prompt_per_second": 50.0')
    replies = [Reply([begun, HANG]), Reply([b""], 500)] * 2 * MAX_FAILURES
    async with scripted_server(MODELS, *replies) as server, engine_at(server, timeout_ms=60_000) as engine:
        for _ in range(2 * MAX_FAILURES):
            assert (await run_request(engine, rule=lambda _text: "enough")).written[0].stop_reason == "enough"
            with pytest.raises(EngineLostError, match="500"):
                await run_request(engine)
        assert not engine.breaker.is_away, "no two failures in a row"
        assert engine.prefill_speed == 50.0


async def test_a_probe_whose_answer_cannot_be_read_is_followed_by_another(ids: tuple[int, ...]) -> None:
    user = UserMessages()
    odd = event({"tokens": [ids[0]], "stop": False, "completion_probabilities": [{"logprob": 10**400}]})
    away = Reply([b""], 503, {"Retry-After": "0.01"})
    async with (
        scripted_server(MODELS, away, Reply([odd], is_cut=True), Reply(events_of(ids))) as server,
        engine_at(server, user) as engine,
    ):
        with pytest.raises(EngineLostError):
            await run_request(engine)
        async with asyncio.timeout(30):
            while user.states[-1]:
                user.changed.clear()
                await user.changed.wait()
        assert len(user.states) == 3, "away, for another reason, and back"
        assert (await run_request(engine)).written[0].text == TEXT


async def test_a_text_ends_before_half_a_character() -> None:
    halves = [event({"choices": [{"text": text, "finish_reason": None}]}) for text in ("x = '", "\ud83d", "\ude00'")]
    async with scripted_server(MODELS, Reply(halves)) as server, engine_at(server, kind="openai") as engine:
        written = (await run_request(engine)).written[0]
        assert (written.text, written.stop_reason) == (b"x = '", "stop_token")


async def test_a_kind_of_refusal_is_reported_once_whatever_is_answered_in_between(ids: tuple[int, ...]) -> None:
    def refusal(message: str, status: int) -> Reply:
        return Reply([json.dumps({"error": {"message": message}}).encode()], status)

    user, answer = UserMessages(), Reply(events_of(ids))
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


@pytest.mark.parametrize("rest", [[], [b"data: more\n\n", HANG], [b"x" * 100_000]], ids=["end", "no end", "much"])
async def test_a_connection_is_reused_if_its_body_ends(ids: tuple[int, ...], rest: list[bytes | None]) -> None:
    async with scripted_server(MODELS, Reply([*events_of(ids), *rest])) as server, engine_at(server) as engine:
        n_connections = []
        for _ in range(2):
            assert (await run_request(engine)).written[0].text == TEXT
            async with asyncio.timeout(30):
                await asyncio.gather(*engine._tasks, return_exceptions=True)
            n_connections.append(server.n_connections)
        assert n_connections[1] - n_connections[0] == (HANG in rest)


async def test_a_cancel_closes_the_connection_at_once(ids: tuple[int, ...]) -> None:
    async with (
        scripted_server(MODELS, Reply([*events_of(ids)[:2], HANG])) as server,
        engine_at(server, timeout_ms=60_000) as engine,
    ):
        cancellation = Cancellation()
        asking = asyncio.ensure_future(run_request(engine, cancellation=cancellation))
        await server.requested.wait()
        cancellation.cancel()
        assert (await asking).written[0].stop_reason == "cancelled"
        async with asyncio.timeout(30):
            await server.disconnected.wait()
        assert not engine.breaker.is_away


async def test_a_server_that_offers_http_2_learns_that_an_answer_is_left(
    ids: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, own = certificates(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    answer = Reply([*events_of(ids)[:2], HANG])
    async with (
        scripted_server(MODELS, answer, tls=tls) as server,
        engine_at(server, url=f"https://localhost:{server.port}") as engine,
    ):
        assert (await run_request(engine, rule=lambda _text: "enough")).written[0].stop_reason == "enough"
        async with asyncio.timeout(30):
            await server.disconnected.wait()


async def test_every_named_authority_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (authority, own), (other, _) = certificates(tmp_path, "localhost"), certificates(tmp_path / "other", "localhost")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own)
    async with scripted_server(MODELS, tls=tls) as server:
        for places in (
            {"SSL_CERT_FILE": authority},
            {"CURL_CA_BUNDLE": authority},
            {"SSL_CERT_FILE": other, "REQUESTS_CA_BUNDLE": authority},
            {"SSL_CERT_DIR": tmp_path},
            {"SSL_CERT_DIR": f"/missing{os.pathsep}{tmp_path}"},
            {"SSL_CERT_DIR": tmp_path / "other", "CURL_CA_BUNDLE": authority},
            {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": "/missing"},
        ):
            for name in authorities.VARIABLES:
                monkeypatch.setenv(name, str(places.get(name, "")))
            async with engine_at(server, url=f"https://localhost:{server.port}") as engine:
                assert engine.prompts.n_context == 1024
        monkeypatch.setenv("SSL_CERT_FILE", str(other))
        with pytest.raises(EngineLostError, match="certificate verify failed"):
            async with engine_at(server, url=f"https://localhost:{server.port}"):
                pass


async def test_an_endless_answer_is_closed_at_its_token_limit(ids: tuple[int, ...]) -> None:
    endless = Reply([*events_of(ids[:1] * 500)[:-1], HANG])
    async with scripted_server(MODELS, endless) as server, engine_at(server, timeout_ms=60_000) as engine:
        generation = await run_request(engine, max_tokens=20)
        assert len(generation.written[0].ids) == 20
        assert generation.written[0].stop_reason == "max_tokens"
        async with asyncio.timeout(30):
            await server.disconnected.wait()


async def test_an_answer_without_the_healed_text_is_requested_again_without_healing(ids: tuple[int, ...]) -> None:
    async with (
        scripted_server(MODELS, Reply(events_of(ids)), Reply(events_of(ids))) as server,
        engine_at(server) as engine,
    ):
        assert (await run_request(engine, heal=b"retu")).written[0].text == b"rn total(x)[0]"
        assert len(server.posts) == 1
        assert server.posts[0].body["grammar"].startswith('root ::= "retu" ')
        assert (await run_request(engine, heal=b"yield ")).written[0].text == TEXT
        first, again = server.posts[1:]
        assert again.body["prompt"] == first.body["prompt"] + list(engine.prompts.tokenizer.encode(b"yield "))
        assert "grammar" not in again.body


async def test_healed_bytes_that_begin_inside_a_character_are_part_of_the_prompt(ids: tuple[int, ...]) -> None:
    async with scripted_server(MODELS, Reply(events_of(ids))) as server, engine_at(server) as engine:
        assert (await run_request(engine, heal="é".encode()[1:] + b"x")).written[0].text == TEXT
        assert "grammar" not in server.posts[0].body


async def test_each_document_has_its_session_headers_and_the_routers_token(ids: tuple[int, ...]) -> None:
    reply = Reply(events_of(ids), headers={"x-session-token": "gpu-7"})
    async with scripted_server(MODELS, reply) as server, engine_at(server, headers=("X-Team: a",)) as engine:
        await run_request(engine)
        await run_request(engine)
        prompt = engine.prompts.fim.infill((), ())
        await engine.generate(GenerationRequest("file:///b.py", prompt, 4, 5000)).ended()
        first, second, other = (each.headers for each in server.posts)
        for name in ("x-session-id", "x-user-id", "x-dynamo-session-id"):
            assert first[name] == second[name] != other[name]
            assert "a.py" not in first[name]
        assert "x-session-token" not in first
        assert second["x-session-token"] == "gpu-7"
        assert first["x-team"] == "a"
        assert "authorization" not in first


async def test_a_header_of_the_settings_is_sent_once_and_as_it_is(ids: tuple[int, ...]) -> None:
    given = ("X-User-Id: alice", "user-agent: editor", "content-type: application/json; v=1")
    async with scripted_server(MODELS, Reply(events_of(ids))) as server, engine_at(server, headers=given) as engine:
        await run_request(engine)
        for request in server.requests:
            for name, value in (line.split(": ") for line in given):
                assert request.headers[name.lower()] == value
        assert len(server.posts[0].headers["x-session-id"]) == 32


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


async def test_a_host_is_named_once_before_the_first_prompt(ids: tuple[int, ...]) -> None:
    user = UserMessages()
    async with scripted_server(MODELS, Reply(events_of(ids))) as server:
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


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_a_server_wants_is_kept_whatever_becomes_of_earlier_requests(
    ids: tuple[int, ...], status: int
) -> None:
    user, begun, cancellation = UserMessages(), asyncio.Event(), Cancellation()
    replies = Reply([*events_of(ids)[:2], HANG]), Reply([b""], status, {"Retry-After": "60"})
    async with scripted_server(MODELS, *replies) as server, engine_at(server, user, timeout_ms=60_000) as engine:
        asking = asyncio.ensure_future(
            run_request(engine, cancellation=cancellation, rule=lambda _text: begun.set(), timeout_ms=60_000)
        )
        await begun.wait()
        with pytest.raises(EngineLostError, match=str(status)):
            await run_request(engine)
        cancellation.cancel()
        assert (await asking).written[0].ids
        await asyncio.gather(*engine._tasks, return_exceptions=True)
        with pytest.raises(EngineLostError, match="is away"):
            await run_request(engine)
        assert len(user.states) == 1


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


async def test_an_engine_that_comes_back_with_another_vocabulary_is_not_used(
    ids: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "MIN_PAUSE_S", 0.01)
    user, away = UserMessages(), Reply([b""], 503, {"Retry-After": "0.01"})
    pages = dict(MODELS)
    async with scripted_server(pages, away, Reply(events_of(ids))) as server, engine_at(server, user) as engine:
        pages["/tokenize"] = {"tokens": [1, 2, 3]}
        with pytest.raises(EngineLostError):
            await run_request(engine)
        async with asyncio.timeout(30):
            while not any("another vocabulary" in message for message in user.messages):
                server.requested.clear()
                await server.requested.wait()
        with pytest.raises(EngineLostError, match="is away"):
            await run_request(engine)
        pages["/tokenize"] = None
        async with asyncio.timeout(30):
            while user.states[-1]:
                user.changed.clear()
                await user.changed.wait()
        assert (await run_request(engine)).written[0].text == TEXT
        assert len([message for message in user.messages if "another vocabulary" in message]) == 1


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
async def test_a_path_on_the_server_is_requested_and_not_shown(ids: tuple[int, ...], model: str, name: str) -> None:
    pages = {**MODELS, "/v1/models": {"data": [{"id": model}]}}
    async with scripted_server(pages, Reply(events_of(ids))) as server, engine_at(server) as engine:
        await run_request(engine)
        assert engine.prompts.name == f"{name} at 127.0.0.1:{server.port}"
        assert server.posts[0].body["model"] == model


async def test_a_closed_engine_sends_and_reports_nothing() -> None:
    user = UserMessages()
    async with scripted_server(MODELS, Reply([HANG])) as server, engine_at(server, user) as engine:
        for _ in range(MAX_FAILURES - 1):
            engine.breaker.fail()
        engine.http.endpoint = evolve(engine.http.endpoint, timeout_s=0.0001)
        stream = engine.generate(GenerationRequest("d", engine.prompts.fim.infill((), ()), 4, 0.1))
        await server.requested.wait()
        stream.close()  # at its deadline, which would be the last failure
        await engine.close()
        with pytest.raises(EngineLostError, match="unloaded"):
            await run_request(engine)
        assert len(server.posts) == 1
        assert (engine.http._client, engine._probing, user.states) == (None, None, [])


async def test_closing_an_ended_stream_has_no_effect(ids: tuple[int, ...]) -> None:
    async with scripted_server(MODELS, Reply(events_of(ids))) as server, engine_at(server) as engine:
        stream = engine.generate(GenerationRequest("d", evolve(engine.prompts.fim.infill((), ()), heal=b""), 4, 5000))
        await stream.ended()
        stream.close()
        stream.drop(0)
        assert (await run_request(engine)).written[0].text == TEXT


async def test_a_proxy_is_used_except_for_this_machine(ids: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    far = "http://gpu.invalid:8000"
    pages = {f"{far}{path}": page for path, page in MODELS.items()}
    async with (
        scripted_server(pages, Reply(events_of(ids))) as proxy,
        scripted_server(MODELS, Reply(events_of(ids))) as near,
    ):
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with engine_at(proxy, url=far, allow_http=True) as engine:
            assert (await run_request(engine)).written[0].text == TEXT
        assert proxy.posts[0].path == f"{far}/completion"
        n_seen = len(proxy.requests)
        async with engine_at(near) as engine:
            assert (await run_request(engine)).written[0].text == TEXT
        assert len(proxy.requests) == n_seen


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
