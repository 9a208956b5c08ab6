"""Documents and requests for tests of the pipeline."""

from __future__ import annotations

import _pydecimal
import asyncio
from pathlib import Path

from attrs import evolve

from starcoder_lsp.completion import Completion, complete
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, Generation
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import (
    CompletionRequest,
    Model,
)
from starcoder_lsp.settings import Settings
from tests.scripted import Scripted

DEFAULTS = Settings()


LONG_FILE = Path(_pydecimal.__file__).read_text()


def generation_of(*written: CompletionOutput) -> Generation:
    return Generation(written, 1, 0, 1, 0.0, 0.0, 0.0)


def opened(text: str, language: str = "python", uri: str = "file:///src/a.py") -> Snapshot:
    return Documents().open(uri, language, 1, text)


async def suggest(prompts: PromptModel, marked: str, writes: str, *, ends_by: str = "stop_token") -> Completion:
    """Return the suggestion at `█` if the model generates `writes`.

    `ends_by` says how the generation ends: by itself, at the deadline, or because the request is cancelled.
    """
    before, _, after = marked.partition("█")
    scripted, cancellation, settings = Scripted(prompts, writes.encode(), ends_by), Cancellation(), DEFAULTS
    if ends_by == "timeout":
        settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, timeout_ms=100))
    model = Model.of(prompts, scripted)
    asking = asyncio.ensure_future(
        complete(CompletionRequest(opened(before + after), len(before.encode()), model, settings), cancellation)
    )
    if ends_by == "cancelled":
        await scripted.begun.wait()
        cancellation.cancel()
    return await asking
