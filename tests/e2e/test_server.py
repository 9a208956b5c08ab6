"""The server from a client's side: lifecycle, completions, reply rules and bad input."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import LanguageClient

from starcoder_lsp.suggestions.postprocess import FILTERS

from .conftest import ON_A_LASTING_SERVER, Driver

URI = "file:///code/example.py"
CODE = "import os\n\n\ndef read(path):\n    with open(path) as \n\n\ndef write(path, text):\n    pass\n"
CURSOR = (4, 23)
ASSIGNED = "import os\n\n\ndef read(path):\n    text = \n    return text\n\n\ndef write(path, text):\n    pass\n"
ASSIGNED_CURSOR = (4, 11)


@pytest_asyncio.fixture(loop_scope="module")
async def driver(lasting: Driver) -> Driver:
    """A server that earlier tests used."""
    return lasting


@pytest.fixture
async def alone(client: LanguageClient) -> Driver:
    """A server of the test's own."""
    made = Driver(client)
    await made.start()
    await made.model_is_loaded()
    return made


async def test_capabilities_and_the_progress_of_the_load(client: LanguageClient) -> None:
    driver = Driver(client)
    result = await driver.start()
    assert result.capabilities.inline_completion_provider
    assert result.capabilities.position_encoding == "utf-16"
    sync = result.capabilities.text_document_sync
    assert sync.open_close
    assert sync.change == types.TextDocumentSyncKind.Incremental
    assert result.server_info.name == "starcoder-lsp"
    await driver.model_is_loaded()
    (reports,) = client.progress_reports.values()
    assert reports[0].kind == "begin"


@ON_A_LASTING_SERVER
async def test_a_completion_has_text_range_and_command(driver: Driver) -> None:
    driver.open(URI, CODE)
    item, *_ = await driver.complete(URI, *CURSOR)
    assert isinstance(item.insert_text, str)
    assert item.insert_text
    assert item.range == types.Range(types.Position(*CURSOR), types.Position(*CURSOR))
    assert item.command.command == "starcoder.accept"


@ON_A_LASTING_SERVER
async def test_the_same_request_gets_the_same_answer(driver: Driver) -> None:
    driver.open(URI, CODE)
    first = await driver.complete(URI, *CURSOR)
    driver.edit(URI, CURSOR, CURSOR, "f")
    await driver.complete(URI, 4, 24)
    driver.edit(URI, CURSOR, (4, 24), "")
    again = await driver.complete(URI, *CURSOR)
    assert [item.insert_text for item in again] == [item.insert_text for item in first]


@ON_A_LASTING_SERVER
async def test_an_invoked_request_gets_several_suggestions_with_different_beginnings(driver: Driver) -> None:
    driver.open(URI, ASSIGNED)
    automatic = driver.request(URI, *ASSIGNED_CURSOR, types.InlineCompletionTriggerKind.Automatic)
    (one,) = (await driver.client.text_document_inline_completion_async(automatic)).items
    several = await driver.complete(URI, *ASSIGNED_CURSOR)
    assert 1 < len(several) <= 3
    assert one.insert_text in {item.insert_text for item in several}
    assert len({item.insert_text for item in several}) == len(several)
    again = await driver.complete(URI, *ASSIGNED_CURSOR)
    assert [item.insert_text for item in again] == [item.insert_text for item in several]
    before = (await driver.metrics())["tokens"]
    driver.open("file:///other.py", ASSIGNED)
    other = await driver.complete("file:///other.py", *ASSIGNED_CURSOR)
    assert [item.insert_text for item in other] == [item.insert_text for item in several]
    after = (await driver.metrics())["tokens"]
    assert after["prompt"] - before["prompt"] < 200, "one prompt for all of them"


async def test_the_number_of_suggestions_is_a_setting(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start({"completion": {"maxItems": 1}})
    await driver.model_is_loaded()
    driver.open(URI, CODE)
    assert len(await driver.complete(URI, *CURSOR)) == 1


async def test_suggestions_below_the_minimal_confidence_are_withheld(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start({"completion": {"minConfidence": 0}})
    await driver.model_is_loaded()
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR) == []


async def test_typing_reuses_evaluated_tokens(alone: Driver) -> None:
    alone.open(URI, CODE)
    await alone.complete(URI, *CURSOR)
    before = (await alone.metrics())["tokens"]
    alone.edit(URI, CURSOR, CURSOR, "q")  # another text than the suggested one
    await alone.complete(URI, 4, 24)
    after = (await alone.metrics())["tokens"]
    assert after["reused"] > before["reused"]
    assert after["prompt"] + after["ahead"] == after["reused"] + after["evaluated"]


async def test_an_opened_or_focused_document_is_prefilled(alone: Driver) -> None:
    """Opened, left for another document, and focused again: each time its cells are cached before the request."""
    alone.open(URI, CODE * 20)
    report = await alone.until_ahead(0)
    assert report["requests"]["total"] == 0
    assert report["documents"][0]["uri"] == URI
    alone.open("file:///other.py", "x = 1\n" * 200)
    other = await alone.until_ahead(report["tokens"]["ahead"])
    assert other["documents"][0]["uri"] == "file:///other.py"
    await alone.complete("file:///other.py", 100, 0)
    alone.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": URI}})
    while (report := await alone.metrics())["documents"][0]["uri"] != URI:
        pass
    assert {document["where"] for document in report["documents"]} == {"device", "ram"}


async def test_an_edited_place_is_prefilled(alone: Driver) -> None:
    alone.open(URI, CODE * 20)
    alone.edit(URI, (60, 0), (60, 0), "x = 1\n")
    report = await alone.until_ahead(100)
    await alone.complete(URI, 61, 0)
    after = (await alone.metrics())["tokens"]
    assert after["evaluated"] - report["tokens"]["evaluated"] <= 2


@ON_A_LASTING_SERVER
async def test_focus_on_an_unknown_document_is_ignored(driver: Driver) -> None:
    driver.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": "file:///nowhere.py"}})
    driver.client.protocol.notify("textDocument/didFocus", {"wrong": 1})
    driver.client.protocol.notify("textDocument/didFocus", [7])
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR) is not None


async def test_a_document_that_is_opened_again_reuses_its_cells(alone: Driver) -> None:
    alone.open(URI, CODE * 20)
    await alone.complete(URI, *CURSOR)
    alone.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
    alone.open("file:///other.py", CODE * 10)
    await alone.complete("file:///other.py", *CURSOR)
    before = (await alone.metrics())["tokens"]["evaluated"]
    alone.open(URI, CODE * 20)
    await alone.complete(URI, *CURSOR)
    assert (await alone.metrics())["tokens"]["evaluated"] - before <= 2


async def test_metrics_have_the_documented_shape(alone: Driver) -> None:
    alone.open(URI, CODE)
    await alone.complete(URI, *CURSOR)
    report = await alone.metrics()
    assert set(report["requests"]) == {"total", "answered", "empty", "superseded", "cancelled", "failed"}
    assert set(report["tokens"]) == {"prompt", "reused", "evaluated", "ahead", "generated", "uncounted"}
    assert set(report["latencyMs"]) == {"count", "p50", "p95", "evaluation"}
    assert report["requests"]["total"] == report["requests"]["answered"] == 1
    assert report["documents"] == [{"uri": URI, "tokens": pytest.approx(90, abs=80), "where": "device"}]
    assert set(report["model"]) == {"name", "architecture", "parameters", "contextLength", "gpuLayers", "bytes"}
    assert report["model"]["architecture"] == "starcoder2"


@ON_A_LASTING_SERVER
async def test_explain_returns_the_prompt(driver: Driver) -> None:
    driver.open(URI, CODE)
    await driver.complete(URI, *CURSOR)
    where = {"textDocument": {"uri": URI}, "position": {"line": CURSOR[0], "character": CURSOR[1]}}
    explained = await driver.call("starcoder/explain", where)
    above, below = CODE.split("    with open(path) as ")
    assert explained["prompt"] == f"<fim_prefix>{above}<fim_suffix>{below}<fim_middle>    with open(path) as "
    assert explained["language"] == "Python"
    assert explained["promptTokens"] + 1 == sum(s["tokens"] for s in explained["segments"]) + 3  # one token is healed
    assert explained["healed"] == " "
    segments = [(s["kind"], s["startLine"], s["endLine"]) for s in explained["segments"]]
    assert segments == [("prefix", 1, 4), ("suffix", 5, 9), ("middle", 5, 5)]
    effects = {f["name"]: f["effect"] for f in explained["filters"]}
    assert list(effects) == [each.__name__ for each in FILTERS]
    assert all(re.fullmatch(r"kept|dropped|(cut|replaces) \d+ bytes", effect) for effect in effects.values())
    assert {"window", "prefill", "decode"} <= set(explained["timingsMs"])


@ON_A_LASTING_SERVER
async def test_a_newer_request_supersedes_the_older(driver: Driver) -> None:
    n_superseded = (await driver.metrics())["requests"]["superseded"]
    driver.open(URI, "x = 1\n" * 300 + CODE)
    params = driver.request(URI, 304, 23)
    older = asyncio.ensure_future(driver.client.text_document_inline_completion_async(params))
    newer = asyncio.ensure_future(driver.client.text_document_inline_completion_async(params))
    assert await older is None
    assert (await newer).items
    assert (await driver.metrics())["requests"]["superseded"] == n_superseded + 1


@ON_A_LASTING_SERVER
async def test_an_edit_supersedes_a_running_request(driver: Driver) -> None:
    driver.open(URI, "x = 1\n" * 300 + CODE)
    running = asyncio.ensure_future(driver.client.text_document_inline_completion_async(driver.request(URI, 304, 23)))
    await asyncio.sleep(0)
    driver.edit(URI, (0, 0), (0, 0), "y")
    assert await running is None


@ON_A_LASTING_SERVER
async def test_a_cancelled_request_gets_the_error_request_cancelled(driver: Driver) -> None:
    driver.open(URI, "x = 1\n" * 300 + CODE)
    n_cancelled = (await driver.metrics())["requests"]["cancelled"]
    protocol = driver.client.protocol
    reply = protocol.send_request("textDocument/inlineCompletion", driver.request(URI, 304, 23), msg_id="to-cancel")
    protocol.notify("$/cancelRequest", types.CancelParams(id="to-cancel"))
    with pytest.raises(JsonRpcException) as raised:
        await asyncio.wrap_future(reply)
    assert raised.value.code == types.LSPErrorCodes.RequestCancelled
    assert (await driver.metrics())["requests"]["cancelled"] == n_cancelled + 1
    assert (await driver.complete(URI, 304, 23)) is not None


@ON_A_LASTING_SERVER
async def test_several_documents_are_served(driver: Driver) -> None:
    driver.open(URI, CODE)
    driver.open("file:///b.rs", "fn main() {\n    let x = \n}\n", "rust")
    driver.open("file:///c.unknown", "hello \n", "no-such-language")
    assert await driver.complete(URI, *CURSOR)
    assert await driver.complete("file:///b.rs", 1, 12) is not None
    assert await driver.complete("file:///c.unknown", 0, 6) is not None
    driver.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
    with pytest.raises(JsonRpcException, match="not open"):
        await driver.complete(URI, *CURSOR)


# Bad input


@ON_A_LASTING_SERVER
async def test_a_position_outside_the_document_is_clamped(driver: Driver) -> None:
    driver.open(URI, CODE)
    for line, character in ((4, 9999), (9999, 0), (9999, 9999)):
        items = await driver.complete(URI, line, character)
        assert items is not None
        for item in items:
            assert item.range.start.line < len(CODE.splitlines()) + 1


@ON_A_LASTING_SERVER
async def test_an_unknown_document_is_an_error_and_the_server_goes_on(driver: Driver) -> None:
    with pytest.raises(JsonRpcException, match="not open") as raised:
        await driver.complete("file:///never-opened.py", 0, 0)
    assert raised.value.code == types.ErrorCodes.InvalidParams
    with pytest.raises(JsonRpcException):
        await driver.call(
            "starcoder/explain", {"textDocument": {"uri": "file:///x"}, "position": {"line": 0, "character": 0}}
        )
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR)


@pytest.mark.parametrize(
    "params", [None, {}, {"textDocument": 3}, {"textDocument": {"uri": URI}, "position": {"line": "a"}}]
)
@pytest.mark.parametrize("method", ["textDocument/inlineCompletion", "starcoder/explain"])
@ON_A_LASTING_SERVER
async def test_malformed_parameters_get_a_reply(driver: Driver, method: str, params: Any) -> None:
    driver.open(URI, CODE)
    body = {"jsonrpc": "2.0", "id": "odd", "method": method, "params": params}
    reply = asyncio.wrap_future(sent_raw(driver.client, body))
    with pytest.raises(JsonRpcException) as raised:
        await reply
    assert raised.value.code == types.ErrorCodes.InvalidParams


def sent_raw(client: LanguageClient, body: dict[str, Any]) -> Any:
    """Send JSON that the client library would refuse to build, and return the future of its reply."""
    from concurrent.futures import Future

    future: Future[Any] = Future()
    client.protocol._request_futures[body["id"]] = future
    data = json.dumps(body).encode()
    client.protocol.writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    return future


@ON_A_LASTING_SERVER
async def test_an_edit_of_an_unknown_document_is_ignored(driver: Driver) -> None:
    driver.versions["file:///nope"] = 1
    driver.edit("file:///nope", (0, 0), (0, 0), "x")
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR)


@pytest.mark.parametrize("marker", ["<fim_middle>", "<|endoftext|>", "<fim_prefix><fim_suffix>"])
@ON_A_LASTING_SERVER
async def test_markers_in_a_file_are_plain_text(driver: Driver, marker: str) -> None:
    driver.open(URI, f"text = '{marker}'\n" + CODE)
    assert await driver.complete(URI, CURSOR[0] + 1, CURSOR[1])
    where = {"textDocument": {"uri": URI}, "position": {"line": CURSOR[0] + 1, "character": CURSOR[1]}}
    explained = await driver.call("starcoder/explain", where)
    plain_tokens = explained["promptTokens"]
    assert explained["prompt"].count("<fim_middle>") == 1 + marker.count("<fim_middle>")
    assert plain_tokens > 40


@pytest.mark.parametrize("text", ["a\0b\n" * 10, ("x" * 99 + "\n") * 100_000])
@ON_A_LASTING_SERVER
async def test_binary_and_huge_files_get_null_without_a_message(driver: Driver, text: str) -> None:
    driver.open(URI, text)
    assert await driver.complete(URI, 0, 1) is None
    assert driver.client.messages == []


async def test_edits_behind_characters_outside_the_bmp_are_at_the_right_place(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start(encoding="utf-16")
    await driver.model_is_loaded()
    driver.open(URI, "s = '😀é'; t = \nu = 1\n")
    driver.edit(URI, (0, 8), (0, 8), "😀")
    where = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 15}}
    explained = await driver.call("starcoder/explain", where)
    assert explained["prompt"] == "<fim_prefix><fim_suffix>= \nu = 1\n<fim_middle>s = '😀é😀'; t "


@pytest.mark.parametrize("encoding", ["utf-8", "utf-32"])
async def test_position_encoding_is_negotiated(client: LanguageClient, encoding: str) -> None:
    driver = Driver(client)
    result = await driver.start(encoding=encoding)
    assert result.capabilities.position_encoding == encoding
    await driver.model_is_loaded()
    driver.open(URI, "s = '😀'; t = \n")
    character = len("s = '😀'".encode(encoding)) // (4 if encoding == "utf-32" else 1) - (
        1 if encoding == "utf-32" else 0
    )
    where = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": character}}
    explained = await driver.call("starcoder/explain", where)
    assert explained["prompt"].endswith("<fim_middle>s = '😀'")


# Settings and models


async def test_wrong_settings_are_reported_by_name_and_the_default_is_used(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start({"completion": {"maxTokens": "many", "maxTokenz": 3}, "debounce": {"mode": "off"}})
    await driver.model_is_loaded()
    texts = "\n".join(message.message for message in client.messages)
    assert "completion.maxTokens" in texts
    assert "completion.maxTokenz" in texts
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "no model file"),
        (b"", "empty"),
        (b"<html></html>", "GGUF"),
        (b"GGUF\x03\0\0\0", "cut"),
        (b"GGUF" * 1000, ""),
    ],
)
async def test_a_bad_model_file_is_reported(
    client: LanguageClient, tmp_path: Path, content: bytes | None, wanted: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    driver = Driver(client)
    await driver.start({"model": {"path": str(path)}, "debounce": {"mode": "off"}})
    while not client.messages:
        await driver.metrics()
    (message,) = client.messages
    assert "\n" not in message.message
    assert wanted.lower() in message.message.lower()
    driver.open(URI, CODE)
    assert await driver.complete(URI, *CURSOR) is None
    assert (await driver.metrics())["model"] is None


async def test_disabled_languages_and_globs_get_null(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start({"languages": ["python"], "disabledGlobs": ["**/secret/*"], "debounce": {"mode": "off"}})
    await driver.model_is_loaded()
    driver.open(URI, CODE)
    driver.open("file:///a.rs", CODE, "rust")
    driver.open("file:///code/secret/a.py", CODE)
    assert await driver.complete(URI, *CURSOR)
    assert await driver.complete("file:///a.rs", *CURSOR) is None
    assert await driver.complete("file:///code/secret/a.py", *CURSOR) is None
