"""Fixtures: a hub that serves the demonstrator, a new home folder, and a puller."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.models.download import Patience
from starcoder_lsp.models.environment import Environment
from starcoder_lsp.models.pull import Puller
from starcoder_lsp.models.store import Store
from tests.hub import FakeHub, serving

REPOSITORY, FILE = "someone/StarCoder2-tiny-GGUF", "tiny.Q4_0.gguf"
SPELLED = f"{REPOSITORY}:{FILE}"
QUICK = Patience(pauses_s=(0.0,), max_failures=3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new home folder, without files, variables and proxies of this user."""
    for name in list(os.environ):
        if name.startswith(
            ("XDG_", "HF_", "OLLAMA_", "HUGGING", "SSL_", "REQUESTS_CA", "CURL_CA")
        ) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


N_BYTES = 300_000
"""The size of most downloads: the beginning of the demonstrator, which takes several reads."""


@pytest.fixture(scope="session")
def content() -> bytes:
    with DEMONSTRATOR.open("rb") as file:
        return file.read(N_BYTES)


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub({(REPOSITORY, FILE): content}, {REPOSITORY: "bigcode-openrail-m"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def puller(hub: FakeHub, tmp_path: Path) -> Puller:
    environment = Environment.read()
    assert environment.endpoint == hub.endpoint
    return Puller(Store(tmp_path / "store"), environment, read_s=20.0, patience=QUICK)
