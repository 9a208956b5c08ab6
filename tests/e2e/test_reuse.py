"""A shown suggestion is used again without the model: while it is typed, after deleting, and at a new request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pytest_lsp import LanguageClient

from .conftest import CODE, ON_A_LASTING_SERVER, SETTINGS, URI, Driver

LINE, COLUMN = 4, 23


@pytest_asyncio.fixture(loop_scope="module")
async def driver(lasting: Driver) -> Driver:
    """A server that earlier tests used."""
    lasting.open(URI, CODE)
    return lasting


@pytest.fixture
async def alone(client: LanguageClient) -> Driver:
    """A server of the test's own."""
    made = Driver(client)
    await made.start()
    await made.model_is_loaded()
    made.open(URI, CODE)
    return made


async def shown(driver: Driver, column: int) -> str:
    """Return the first suggestion's text, which replaces nothing; empty if there is none."""
    items = await driver.complete(URI, LINE, column)
    assert items is not None
    if not items:
        return ""
    assert items[0].range.start == items[0].range.end == types.Position(LINE, column)
    return items[0].insert_text


def on_the_line(text: str) -> str:
    """Return the part of a suggestion up to the line's end."""
    return text.partition("\n")[0]


def end_of(text: str) -> tuple[int, int]:
    """Return the place behind an accepted suggestion."""
    above, newline, last_line = text.rpartition("\n")
    return LINE + (text.count("\n") if newline else 0), len(last_line) + (0 if newline else COLUMN + len(above))


async def cost(driver: Driver) -> tuple[Any, ...]:
    """Return the tokens that requests cost, without those evaluated ahead of need."""
    tokens = (await driver.metrics())["tokens"]
    return tokens["prompt"], tokens["generated"], tokens["evaluated"] - tokens["ahead"]


async def n_prompt_tokens(driver: Driver) -> int:
    """Return the prompt tokens of all requests that reached the model."""
    return int((await driver.metrics())["tokens"]["prompt"])


async def test_typing_a_suggestion_deleting_it_and_requesting_again_cost_nothing(alone: Driver) -> None:
    text = await shown(alone, COLUMN)
    typed = on_the_line(text)[:-1]
    assert len(typed) > 0
    first = await cost(alone)
    for n, letter in enumerate(typed):
        alone.edit(URI, (LINE, COLUMN + n), (LINE, COLUMN + n), letter)
        assert await shown(alone, COLUMN + n + 1) == text[n + 1 :]
    for n in reversed(range(len(typed))):
        alone.edit(URI, (LINE, COLUMN + n), (LINE, COLUMN + n + 1), "")
        assert await shown(alone, COLUMN + n) == text[n:]
    assert await shown(alone, COLUMN) == text
    assert await cost(alone) == first
    report = await alone.metrics()
    assert report["requests"]["answered"] == report["requests"]["total"] == report["latencyMs"]["count"]


@ON_A_LASTING_SERVER
async def test_an_auto_closed_bracket_is_replaced(driver: Driver) -> None:
    driver.replace(URI, "x = sorted\n")
    item, *_ = await driver.complete(URI, 0, 10)
    text = item.insert_text
    assert text[0] == "("
    assert ")" in text
    before = await cost(driver)
    driver.edit(URI, (0, 10), (0, 10), "()")
    item, *_ = await driver.complete(URI, 0, 11)
    assert item.insert_text == text[1:]
    assert item.range == types.Range(types.Position(0, 11), types.Position(0, 12))
    assert await cost(driver) == before


@pytest.mark.parametrize(
    ("start", "end", "text", "column"),
    [
        ((LINE, COLUMN), (LINE, COLUMN), "~", COLUMN + 1),  # another text than the suggested one
        ((LINE, COLUMN - 1), (LINE, COLUMN), "", COLUMN - 1),  # in front of the suggestion
        ((8, 4), (8, 8), "return", COLUMN),  # below
        ((0, 7), (0, 9), "re", COLUMN),  # above
    ],
)
@ON_A_LASTING_SERVER
async def test_any_other_edit_needs_the_model(
    driver: Driver, start: tuple[int, int], end: tuple[int, int], text: str, column: int
) -> None:
    await shown(driver, COLUMN)
    before = await n_prompt_tokens(driver)
    driver.edit(URI, start, end, text)
    await shown(driver, column)
    assert await n_prompt_tokens(driver) > before


@ON_A_LASTING_SERVER
async def test_after_accepting_or_reopening_the_model_is_needed(driver: Driver) -> None:
    text = await shown(driver, COLUMN)
    before = await n_prompt_tokens(driver)
    driver.edit(URI, (LINE, COLUMN), (LINE, COLUMN), text)
    await driver.complete(URI, *end_of(text))
    accepted = await n_prompt_tokens(driver)
    assert accepted > before
    driver.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
    driver.open(URI, CODE)
    assert await shown(driver, COLUMN) == text
    assert await n_prompt_tokens(driver) > accepted


async def test_the_suggestion_after_an_accepted_one_is_prepared(alone: Driver) -> None:
    automatic = types.InlineCompletionTriggerKind.Automatic
    params = alone.request(URI, LINE, COLUMN, automatic)
    (item,) = (await alone.client.text_document_inline_completion_async(params)).items
    n_generated = (await alone.metrics())["tokens"]["generated"]
    while (await alone.metrics())["tokens"]["generated"] == n_generated:
        pass
    before = await n_prompt_tokens(alone)
    alone.edit(URI, (LINE, COLUMN), (LINE, COLUMN), item.insert_text)
    params = alone.request(URI, *end_of(item.insert_text), automatic)
    await alone.client.text_document_inline_completion_async(params)
    assert await n_prompt_tokens(alone) == before


async def test_other_settings_need_the_model(alone: Driver) -> None:
    await shown(alone, COLUMN)
    before = await n_prompt_tokens(alone)
    settings = SETTINGS | {"completion": {"maxTokens": 1}}
    alone.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams(settings={"starcoder": settings})
    )
    await shown(alone, COLUMN)
    assert await n_prompt_tokens(alone) > before


async def test_cached_and_invoked_answers_skip_the_debounce(client: LanguageClient) -> None:
    """Other automatic requests wait for the delay."""
    driver = Driver(client)
    await driver.start({"debounce": {"mode": "fixed", "ms": 2000}})
    await driver.model_is_loaded()
    driver.open(URI, CODE)
    text = await shown(driver, COLUMN)
    automatic = types.InlineCompletionTriggerKind.Automatic
    for n, letter in enumerate(on_the_line(text)[:3]):
        driver.edit(URI, (LINE, COLUMN + n), (LINE, COLUMN + n), letter)
        params = driver.request(URI, LINE, COLUMN + n + 1, automatic)
        assert (await driver.client.text_document_inline_completion_async(params)).items[0].insert_text == text[n + 1 :]
    assert (await driver.metrics())["latencyMs"]["p50"] < 1000


async def test_a_cached_answer_supersedes_a_waiting_request(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start({"debounce": {"mode": "fixed", "ms": 2000}})
    await driver.model_is_loaded()
    driver.open(URI, CODE)
    text = await shown(driver, COLUMN)
    waiting = driver.request(URI, 0, 3, types.InlineCompletionTriggerKind.Automatic)
    older = asyncio.ensure_future(driver.client.text_document_inline_completion_async(waiting))
    await asyncio.sleep(0)  # so that the request is sent
    assert await shown(driver, COLUMN) == text
    assert await older is None
    assert (await driver.metrics())["requests"]["superseded"] == 1


async def test_an_empty_answer_is_cached_for_the_same_text_only(client: LanguageClient) -> None:
    driver = Driver(client)
    await driver.start(SETTINGS | {"completion": {"minConfidence": 0}})  # nothing is as sure as that
    await driver.model_is_loaded()
    driver.open(URI, "x = 1")
    assert await driver.complete(URI, 0, 5) == []
    before = await n_prompt_tokens(driver)
    assert await driver.complete(URI, 0, 5) == []
    assert await n_prompt_tokens(driver) == before
    driver.edit(URI, (0, 5), (0, 5), "0")
    await driver.complete(URI, 0, 6)
    assert await n_prompt_tokens(driver) > before
