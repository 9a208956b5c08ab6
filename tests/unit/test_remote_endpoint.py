"""The checks of `engine.*`: addresses, keys and headers. Each error says what to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from starcoder_lsp.cli.bench.engines import Counts, counts_of
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.remote.endpoint import Endpoint, endpoint_of
from starcoder_lsp.engine.remote.http import retry_after_s
from starcoder_lsp.engine_settings import EngineSettings
from tests.scripted_server import Reply, scripted_server

ROOT = Path(__file__).parents[2]
KEY = "sk-0123456789abcdef"


ENVIRON = {"TEAM_KEY": f" {KEY}\n", "EMPTY": " ", "ODD": "clé", "TWO_LINES": "a\nb"}


def endpoint(**given: object):
    return endpoint_of(EngineSettings(**{"kind": "vllm", "url": "https://gpu", **given}), ENVIRON)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://gpu.example.com", "https://gpu.example.com"),
        ("https://gpu.example.com/", "https://gpu.example.com"),
        ("https://gpu.example.com:8443/team/v1", "https://gpu.example.com:8443/team"),
        ("https://gpu.example.com/v1/completions", "https://gpu.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000"),
        ("http://localhost:11434/api/generate", "http://localhost:11434"),
        ("https://gateway/api", "https://gateway/api"),
        ("https://gateway/api/v1", "https://gateway/api"),
        ("https://gateway/generate", "https://gateway/generate"),
    ],
)
def test_addresses_copied_from_documentation_are_accepted(given: str, url: str) -> None:
    assert endpoint(url=given).url == url


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("ollama", "http://localhost:11434/api"),
        ("ollama", "http://localhost:11434/v1"),
        ("tgi", "http://[::1]/generate"),
    ],
)
def test_the_ends_of_one_protocol_are_left_out(kind: str, given: str) -> None:
    assert endpoint(kind=kind, url=given).url == given.rpartition("/")[0]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/completions"])
async def test_a_benchmark_finds_the_counters_of_a_server_by_the_same_address(end: str) -> None:
    counters = b"# TYPE llamacpp\nllamacpp:prompt_tokens_total 7\nllamacpp:tokens_predicted_total 2\n"
    async with scripted_server({}, Reply([counters])) as server:
        counts = await counts_of(EngineSettings(kind="llama-server", url=server.url + end))
        assert counts == Counts(7, 2)
        assert [request.path for request in server.requests] == ["/metrics"]


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"url": ""}, "engine.url is empty"),
        ({"url": "gpu.example.com"}, "looks like https://"),
        ({"url": "ftp://gpu"}, "looks like https://"),
        ({"url": "https://"}, "looks like https://"),
        ({"url": "https://gpu:port"}, "looks like https://"),
        ({"url": "https://me:secret@gpu"}, "engine.apiKeyEnv"),
        ({"url": "https://:secret@gpu"}, "engine.apiKeyEnv"),
        ({"url": "https://gpu/?key=secret"}, "only the server's address"),
        ({"url": "https://gpu/#secret"}, "only the server's address"),
        ({"url": "http://gpu.example.com"}, "engine.allowHttp"),
        ({"url": "http://127.0.0.1.example.com"}, "engine.allowHttp"),
        ({"url": "http://0.0.0.0:8000"}, "engine.allowHttp"),
        ({"headers": ("Authorization: Bearer secret",)}, "engine.apiKeyEnv"),
        ({"headers": ("X-Api-Key: secret",)}, "engine.apiKeyEnv"),
        ({"headers": ("no colon",)}, "Name: value"),
        ({"headers": ("X-Team: a\r\nX-Other: b",)}, "Name: value"),
        ({"session_headers": ("x session",)}, "engine.sessionHeaders"),
        ({"api_key_env": KEY}, "name of an environment variable"),
        ({"api_key_env": "hf_abcdefgh"}, "name of an environment variable"),
        ({"api_key_env": "not a name"}, "name of an environment variable"),
        ({"api_key_env": "MISSING"}, "is not set"),
        ({"api_key_env": "EMPTY"}, "is not set"),
        ({"api_key_env": "ODD"}, "characters that no key has"),
        ({"api_key_env": "TWO_LINES"}, "characters that no key has"),
    ],
)
def test_errors_give_advice_and_quote_no_secret(given: dict[str, object], advice: str) -> None:
    with pytest.raises(EngineError) as raised:
        endpoint(**given)
    message = str(raised.value)
    assert advice in message
    assert "\n" not in message
    assert "secret" not in message
    assert KEY not in message


def test_http_to_another_machine_must_be_allowed() -> None:
    assert endpoint(url="http://gpu.example.com", allow_http=True).url == "http://gpu.example.com"


def test_all_settings_reach_the_endpoint() -> None:
    settings = EngineSettings(
        kind="openai",
        url=" https://gpu:8443/v1 ",
        model="starcoder2",
        timeout_ms=1500,
        headers=("X-Team:  a b ", "x-empty:"),
        session_headers=("x-session-id",),
        prompt_form="text",
        cache_salt="salt",
    )
    assert endpoint_of(settings, {}) == Endpoint(
        kind="openai",
        url="https://gpu:8443",
        model="starcoder2",
        timeout_s=1.5,
        headers=(("X-Team", "a b"), ("x-empty", "")),
        session_headers=("x-session-id",),
        prompt_form="text",
        cache_salt="salt",
        key="",
    )


@pytest.mark.parametrize(
    ("url", "host", "hostname", "is_on_this_machine"),
    [
        ("https://gpu.example.com:8443/a", "gpu.example.com:8443", "gpu.example.com", False),
        ("http://127.1.2.3:8000", "127.1.2.3:8000", "127.1.2.3", True),
        ("http://[::1]:8000", "[::1]:8000", "[::1]", True),
        ("https://[fd00::1]", "[fd00::1]", "[fd00::1]", False),
        ("http://localhost", "localhost", "localhost", True),
        ("http://gpu.localhost", "gpu.localhost", "gpu.localhost", True),
        ("https://notlocalhost", "notlocalhost", "notlocalhost", False),
    ],
)
def test_a_loopback_address_is_recognized(url: str, host: str, hostname: str, is_on_this_machine: bool) -> None:  # noqa: FBT001
    found = endpoint(url=url)
    assert (found.host, found.hostname, found.is_on_this_machine) == (host, hostname, is_on_this_machine)


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "XAI_API_KEY", "NVAPI_KEY", "SK_TEAM", "KEY_OF_TEAM", "hf_token", "key_1"]
)
def test_the_name_of_a_variable_is_no_key_if_it_is_set_or_in_capitals(name: str) -> None:
    settings = EngineSettings(kind="tgi", url="https://gpu", api_key_env=name)
    assert endpoint_of(settings, {name: KEY}).key == KEY
    with pytest.raises(EngineError) as raised:
        endpoint_of(settings, {})
    assert (f"the environment variable {name}," in str(raised.value)) == name.isupper()


def test_the_key_is_in_no_representation() -> None:
    found = endpoint(api_key_env="TEAM_KEY")
    assert found.key == KEY
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("", 0),
        ("-1", 0),
        ("nan", 0),
        ("inf", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_a_pause_is_read_from_retry_after(value: str, seconds: float) -> None:
    assert retry_after_s(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_s("Thu, 01 Jan 2100 00:00:00 GMT") > 1e9


def test_a_server_whose_model_is_local_imports_nothing_of_the_network() -> None:
    program = (
        "import sys, starcoder_lsp.lsp.app, starcoder_lsp.session.session, starcoder_lsp.engine.loading\n"
        "print([name for name in sys.modules if name.startswith(('httpx', 'starcoder_lsp.engine.remote'))])"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603  our own program
    assert ran.stdout.strip() == "[]"
