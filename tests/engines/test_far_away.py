"""A real engine behind TLS and a proxy, with a private authority, and over a faulty connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from starcoder_lsp.engine.engine import EngineError, EngineLostError, Prompt
from starcoder_lsp.engine.remote.breaker import Breaker
from starcoder_lsp.engine.remote.client import RemoteEngine
from tests.engines.conftest import opened
from tests.engines.far_away import NAME, Line, certificates, gateway, proxy
from tests.engines.servers import EngineServer
from tests.engines.test_same_answers import answer, prompts_at_places

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *PROXIES):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def far(
    llama: EngineServer, certificate: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Yield the engine's address behind the proxy, which the environment names."""
    async with (
        gateway(llama.port, certificate, line) as port,
        proxy({f"{NAME}:443": port}, line) as address,
    ):
        monkeypatch.setenv("HTTPS_PROXY", address)
        yield f"https://{NAME}"


async def text(engine: RemoteEngine, prompt: Prompt) -> bytes:
    return (await answer(engine, engine.prompts, prompt)).written[0].text


async def check_places(llama: EngineServer, far_engine: RemoteEngine, n_places: int) -> None:
    """Compare answers at some places with those over a direct connection.

    Two requests at each place come first, since the engine's cached part of a prompt changes the rounding of sums.
    """
    async with opened(llama) as (prompts, near):
        places = prompts_at_places(prompts, seed=3)
        for _ in range(n_places):
            prompt = next(places)
            await text(near, prompt)
            assert await text(near, prompt) == await text(far_engine, prompt)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_an_engine_behind_a_proxy_and_a_private_authority_gives_the_same_answers(
    llama: EngineServer, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    ca, certificate = authority
    line = Line()
    monkeypatch.setenv(variable, str(ca))
    async with far(llama, certificate, line, monkeypatch) as url, opened(llama, url=url) as (_, engine):
        await check_places(llama, engine, 5)
        assert engine.where == NAME
    assert set(line.request_lines) == {f"CONNECT {NAME}:443 HTTP/1.1"}


async def test_an_unnamed_authority_is_not_trusted(
    llama: EngineServer, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with far(llama, authority[1], Line(), monkeypatch) as url:
        with pytest.raises(EngineError, match=r"(?i)certificate"):
            async with opened(llama, url=url):
                pass


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SSL_CERT_FILE", "/missing/ca.pem", "/missing/ca.pem cannot be read"),
        ("HTTPS_PROXY", "nonsense://user:secret@host", "HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://127.0.0.1:1", "cannot be reached"),
    ],
)
async def test_an_invalid_variable_is_named(
    llama: EngineServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(EngineError, match=words) as raised:
        async with opened(llama, url=f"https://{NAME}"):
            pass
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("line", [Line(7), Line(64, 0.002)], ids=["in small pieces", "slow"])
async def test_a_slow_connection_in_pieces_changes_no_text(
    llama: EngineServer, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    async with far(llama, authority[1], line, monkeypatch) as url, opened(llama, url=url) as (_, engine):
        await check_places(llama, engine, 2)


async def test_a_cut_connection_gives_the_whole_text_or_an_error(
    llama: EngineServer, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    rng, line, n_lost = Random(1), Line(), 0
    async with far(llama, authority[1], line, monkeypatch) as url, opened(llama, url=url) as (prompts, engine):
        prompt = next(prompts_at_places(prompts, seed=3))
        await text(engine, prompt)
        expected = await text(engine, prompt)
        for n_bytes in (0, 1, *(rng.randrange(6000) for _ in range(20))):
            await engine.http.close()  # each over a new connection
            engine.breaker = Breaker()
            line.n_bytes = n_bytes
            try:
                assert await text(engine, prompt) == expected
            except EngineLostError:
                n_lost += 1
        line.n_bytes, engine.breaker = None, Breaker()
        assert await text(engine, prompt) == expected
    assert n_lost >= 2
