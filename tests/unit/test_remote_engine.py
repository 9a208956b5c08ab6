"""A remote engine over a faulty network: each request ends once, and never with a wrong text."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from starcoder_lsp import authorities
from starcoder_lsp.engine.engine import (
    Cancellation,
    EngineLostError,
    GenerationRequest,
)
from starcoder_lsp.engine.remote import breaker
from starcoder_lsp.engine.remote.breaker import MAX_FAILURES
from tests.engines.far_away import certificates
from tests.scripted_server import HANG, Reply, scripted_server
from tests.unit.remote_engine import (
    IDS,
    MODELS,
    TEXT,
    UserMessages,
    engine_at,
    event,
    events_of,
    leave,
    own_state,  # noqa: F401  a fixture of every test here
    run_request,
)


async def test_an_answer_has_text_counts_and_log_probabilities() -> None:
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server, engine_at(server) as engine:
        generation = await run_request(engine)
        (written,) = generation.written
        assert (written.text, written.ids, written.stop_reason) == (TEXT, IDS, "stop_token")
        assert written.logprobs == (-0.25,) * len(IDS)
        assert (generation.n_reused, generation.n_evaluated, generation.is_counted) == (90, 10, True)
        assert engine.prompts.name == f"starcoder2-3b at 127.0.0.1:{server.port}"
        assert engine.prompts.n_context == 1024


async def test_a_stream_in_single_bytes_gives_the_same_answer() -> None:
    bytes_one_by_one = [bytes([byte]) for byte in b"".join(events_of(IDS))]
    async with scripted_server(MODELS, Reply(bytes_one_by_one)) as server, engine_at(server) as engine:
        assert (await run_request(engine)).written[0].text == TEXT


async def test_repeated_events_are_ignored() -> None:
    twice = [chunk for chunk in events_of(IDS) for _ in range(2)]
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
    name: str,
    change: Any,
) -> None:
    user, patience_ms = UserMessages(), 300 if "silence" in name else 5000
    async with (
        scripted_server(MODELS, change(events_of(IDS))) as server,
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
            await leave(engine, server, n)
        assert not engine.breaker.is_away


async def test_an_engine_that_was_away_is_used_again_without_a_request() -> None:
    user = UserMessages()
    async with (
        scripted_server(MODELS, Reply([b""], 503, {"Retry-After": "0.01"}), Reply(events_of(IDS))) as server,
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


async def test_an_answer_that_the_reader_leaves_is_a_success() -> None:
    first, *_ = events_of(IDS, n_prompt=100)
    begun = first.replace(b'"prompt_n": 100', b'"prompt_n": 100, "prompt_per_second": 50.0')
    replies = [Reply([begun, HANG]), Reply([b""], 500)] * 2 * MAX_FAILURES
    async with scripted_server(MODELS, *replies) as server, engine_at(server, timeout_ms=60_000) as engine:
        for _ in range(2 * MAX_FAILURES):
            assert (await run_request(engine, rule=lambda _text: "enough")).written[0].stop_reason == "enough"
            with pytest.raises(EngineLostError, match="500"):
                await run_request(engine)
        assert not engine.breaker.is_away, "no two failures in a row"
        assert engine.prefill_speed == 50.0


async def test_a_probe_whose_answer_cannot_be_read_is_followed_by_another() -> None:
    user = UserMessages()
    odd = event({"tokens": [IDS[0]], "stop": False, "completion_probabilities": [{"logprob": 10**400}]})
    away = Reply([b""], 503, {"Retry-After": "0.01"})
    async with (
        scripted_server(MODELS, away, Reply([odd], is_cut=True), Reply(events_of(IDS))) as server,
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


@pytest.mark.parametrize("rest", [[], [b"data: more\n\n", HANG], [b"x" * 100_000]], ids=["end", "no end", "much"])
async def test_a_connection_is_reused_if_its_body_ends(rest: list[bytes | None]) -> None:
    async with scripted_server(MODELS, Reply([*events_of(IDS), *rest])) as server, engine_at(server) as engine:
        n_connections = []
        for _ in range(2):
            assert (await run_request(engine)).written[0].text == TEXT
            async with asyncio.timeout(30):
                await asyncio.gather(*engine._tasks, return_exceptions=True)
            n_connections.append(server.n_connections)
        assert n_connections[1] - n_connections[0] == (HANG in rest)


async def test_a_cancel_closes_the_connection_at_once() -> None:
    async with (
        scripted_server(MODELS, Reply([*events_of(IDS)[:2], HANG])) as server,
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, own = certificates(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    answer = Reply([*events_of(IDS)[:2], HANG])
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


async def test_an_endless_answer_is_closed_at_its_token_limit() -> None:
    endless = Reply([*events_of(IDS[:1] * 500)[:-1], HANG])
    async with scripted_server(MODELS, endless) as server, engine_at(server, timeout_ms=60_000) as engine:
        generation = await run_request(engine, max_tokens=20)
        assert len(generation.written[0].ids) == 20
        assert generation.written[0].stop_reason == "max_tokens"
        async with asyncio.timeout(30):
            await server.disconnected.wait()


async def test_an_answer_without_the_healed_text_is_requested_again_without_healing() -> None:
    async with (
        scripted_server(MODELS, Reply(events_of(IDS)), Reply(events_of(IDS))) as server,
        engine_at(server) as engine,
    ):
        assert (await run_request(engine, heal=b"retu")).written[0].text == b"rn total(x)[0]"
        assert len(server.posts) == 1
        assert server.posts[0].body["grammar"].startswith('root ::= "retu" ')
        assert (await run_request(engine, heal=b"yield ")).written[0].text == TEXT
        first, again = server.posts[1:]
        assert again.body["prompt"] == first.body["prompt"] + list(engine.prompts.tokenizer.encode(b"yield "))
        assert "grammar" not in again.body


async def test_healed_bytes_that_begin_inside_a_character_are_part_of_the_prompt() -> None:
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server, engine_at(server) as engine:
        assert (await run_request(engine, heal="é".encode()[1:] + b"x")).written[0].text == TEXT
        assert "grammar" not in server.posts[0].body


async def test_each_document_has_its_session_headers_and_the_routers_token() -> None:
    reply = Reply(events_of(IDS), headers={"x-session-token": "gpu-7"})
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


async def test_a_header_of_the_settings_is_sent_once_and_as_it_is() -> None:
    given = ("X-User-Id: alice", "user-agent: editor", "content-type: application/json; v=1")
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server, engine_at(server, headers=given) as engine:
        await run_request(engine)
        for request in server.requests:
            for name, value in (line.split(": ") for line in given):
                assert request.headers[name.lower()] == value
        assert len(server.posts[0].headers["x-session-id"]) == 32


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_a_server_wants_is_kept_whatever_becomes_of_earlier_requests(status: int) -> None:
    user, begun, cancellation = UserMessages(), asyncio.Event(), Cancellation()
    replies = Reply([*events_of(IDS)[:2], HANG]), Reply([b""], status, {"Retry-After": "60"})
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


async def test_an_engine_that_comes_back_with_another_vocabulary_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MIN_PAUSE_S", 0.01)
    user, away = UserMessages(), Reply([b""], 503, {"Retry-After": "0.01"})
    pages = dict(MODELS)
    async with scripted_server(pages, away, Reply(events_of(IDS))) as server, engine_at(server, user) as engine:
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


async def test_closing_an_ended_stream_has_no_effect() -> None:
    async with scripted_server(MODELS, Reply(events_of(IDS))) as server, engine_at(server) as engine:
        stream = engine.generate(GenerationRequest("d", evolve(engine.prompts.fim.infill((), ()), heal=b""), 4, 5000))
        await stream.ended()
        stream.close()
        stream.drop(0)
        assert (await run_request(engine)).written[0].text == TEXT


async def test_a_proxy_is_used_except_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    far = "http://gpu.invalid:8000"
    pages = {f"{far}{path}": page for path, page in MODELS.items()}
    async with (
        scripted_server(pages, Reply(events_of(IDS))) as proxy,
        scripted_server(MODELS, Reply(events_of(IDS))) as near,
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
