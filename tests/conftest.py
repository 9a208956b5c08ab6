"""What several folders of tests need: where things are, and an engine with the demonstrator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from starcoder_lsp.documents import syntax
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR, opened
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.settings import Settings

if TYPE_CHECKING:
    from tests.local_engine import LocalEngine

# A shared machine may pause any example; on CI Hypothesis has a profile of its own that says the same.
settings.register_profile("no deadline", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.register_profile("few", deadline=None, max_examples=20)  # for mutation testing: one test runs a thousand times
settings.load_profile("no deadline")
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared is not here")
    return SHARED


@pytest.fixture(autouse=True)
def patient_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """No parse of a test runs out of time because the machine is busy; tests of the deadline set their own."""
    monkeypatch.setattr(syntax, "FIRST_PARSE_MS", 60_000)
    monkeypatch.setattr(syntax, "REPARSE_MS", 60_000)


@pytest.fixture(scope="session")
def caution() -> Caution:
    """How carefully llama.cpp must be run on this machine: what a host that may crash for it found out."""

    async def found() -> Caution:
        async with opened(Settings()) as (_, engine):
            return engine.caution

    return asyncio.run(found())


@pytest.fixture(scope="session")
def prompts() -> PromptModel:
    """What choosing a prompt needs of the demonstrator."""
    return read_prompt_model(DEMONSTRATOR, 2048)


@pytest.fixture(scope="session")
def engine(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """The demonstrator, loaded once in this process."""
    from tests.local_engine import LocalEngine

    loaded = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    yield loaded
    loaded.end()
