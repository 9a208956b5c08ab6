"""What several folders of tests need: where things are, and an engine with the demonstrator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from starcoder_lsp.documents import syntax
from starcoder_lsp.engine.engine import Engine
from starcoder_lsp.engine.loading import DEMONSTRATOR

# A shared machine may pause any example; on CI Hypothesis has a profile of its own that says the same.
settings.register_profile("no deadline", settings.get_profile(settings.get_current_profile_name()), deadline=None)
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
def engine() -> Iterator[Engine]:
    """The demonstrator, loaded once."""
    from starcoder_lsp.engine.llama import load

    loaded = load(DEMONSTRATOR, n_context=2048, n_gpu_layers=0, n_threads=1, on_progress=lambda _share: None)
    yield loaded
    loaded.close()
