"""Fixtures for all tests: paths, and an engine with the demonstrator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from starcoder_lsp.documents import syntax
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR, opened
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.settings import Settings

if TYPE_CHECKING:
    from tests.local_engine import LocalEngine

# A shared machine may pause any example, or the making of one, so neither has a limit of time. Hypothesis's profile for
# CI has none either. "few" is for mutation testing, where one test runs a thousand times.
WITHOUT_TIME = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("no deadline", settings.get_profile(settings.get_current_profile_name()), **WITHOUT_TIME)
settings.register_profile("few", max_examples=20, **WITHOUT_TIME)
settings.load_profile("no deadline")
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of shared data; the test is skipped if it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared is not here")
    return SHARED


@pytest.fixture(autouse=True)
def patient_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long deadlines for parses, since the machine may be busy. Tests of the deadline set their own."""
    monkeypatch.setattr(syntax, "FIRST_PARSE_MS", 60_000)
    monkeypatch.setattr(syntax, "REPARSE_MS", 60_000)


@pytest.fixture(scope="session")
def caution() -> Caution:
    """The rung of the ladder that this machine needs, found by a host, which may crash."""

    async def found() -> Caution:
        async with opened(Settings()) as (_, engine):
            return engine.caution

    return asyncio.run(found())


@pytest.fixture(scope="session")
def prompts() -> PromptModel:
    """The demonstrator's vocabulary, markers and sizes, without its weights."""
    return read_prompt_model(DEMONSTRATOR, 2048)


@pytest.fixture(scope="session")
def engine(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """An engine with the demonstrator, loaded once in this process."""
    from tests.local_engine import LocalEngine

    loaded = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    yield loaded
    loaded.end()
