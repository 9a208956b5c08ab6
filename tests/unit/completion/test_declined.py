"""Documents that get no suggestions."""

from __future__ import annotations

import pytest
from attrs import evolve

from starcoder_lsp.completion import complete
from starcoder_lsp.documents.documents import MAX_BYTES
from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import (
    CompletionRequest,
    Model,
    decline_reason,
)
from starcoder_lsp.settings import Settings
from tests.scripted import Scripted
from tests.unit.completion.requests import DEFAULTS, opened


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (evolve(DEFAULTS, enabled=False), "enabled"),
        (evolve(DEFAULTS, languages=("rust", "go")), "languages"),
        (evolve(DEFAULTS, disabled_globs=("**/*.env", "src/**")), "'src/**'"),
    ],
)
async def test_a_declined_document_costs_no_model_call(prompts: PromptModel, settings: Settings, reason: str) -> None:
    scripted = Scripted(prompts, b"x")
    completion = await complete(
        CompletionRequest(opened("a = "), 4, Model.of(prompts, scripted), settings), Cancellation()
    )
    assert completion.text == ""
    assert reason in completion.reason
    assert (completion.generation, completion.window, scripted.requests) == (None, None, [])


@pytest.mark.parametrize("text", ["a = 1\n\0", "x" * (MAX_BYTES + 1)])
async def test_binary_and_huge_documents_are_declined(model: Model, text: str) -> None:
    completion = await complete(
        CompletionRequest(opened(text, language="plaintext"), 0, model, DEFAULTS), Cancellation()
    )
    assert completion.text == ""
    assert completion.reason


@pytest.mark.parametrize(
    ("language_id", "uri", "languages", "is_wanted"),
    [
        ("python", "file:///a.py", (), True),
        ("python", "file:///a.py", ("python",), True),
        ("python", "file:///a.py", ("rust",), False),
        ("", "file:///a.py", ("python",), True),  # the command line has a file's name and no language id
        ("python3", "file:///a", ("python",), True),
        ("python3", "file:///a", ("python3",), True),
        ("my-own-language", "file:///a.mine", ("my-own-language",), True),
        ("", "file:///a.mine", ("python",), False),
    ],
)
def test_only_languages_of_the_settings_get_completions(
    language_id: str,
    uri: str,
    languages: tuple[str, ...],
    is_wanted: bool,  # noqa: FBT001
) -> None:
    reason = decline_reason(opened("x", language_id, uri), evolve(DEFAULTS, languages=languages))
    assert (reason == "") == is_wanted
    assert is_wanted or "languages" in reason


def test_a_glob_is_matched_against_the_decoded_path() -> None:
    settings = evolve(DEFAULTS, disabled_globs=("mein geheimnis/*.py",))
    assert decline_reason(opened("x", uri="file:///home/mein%20geheimnis/a.py"), settings)
    assert not decline_reason(opened("x", uri="file:///home/kein%20geheimnis/a.py"), settings)
