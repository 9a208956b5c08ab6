"""Facts about a machine without any fault."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.cli.doctor.command import start_loading
from starcoder_lsp.cli.doctor.facts import Facts, Library, Memory, Places
from starcoder_lsp.cli.doctor.gather import gather
from tests.unit.doctor.machine import BUILD, GIB, ITS_CPU


@pytest.fixture(scope="module")
def own_folder() -> Iterator[Path]:
    """A home folder whose path is short enough for socket files."""
    with tempfile.TemporaryDirectory(prefix="slsp-") as name, pytest.MonkeyPatch.context() as patch:
        for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(variable, name)
        yield Path(name)


@pytest.fixture(scope="module")
def facts(own_folder: Path) -> Facts:
    """Facts for which every check passes."""
    found = gather(start_loading(), None, Places(home=own_folder))
    library = Library("0.3.36", Path("/lib"), (), BUILD)
    return evolve(found, library=library, cpu_flags=ITS_CPU, has_nvidia_gpu=False, memory=Memory(16 * GIB, 8 * GIB))


@pytest.fixture
def runtime(own_folder: Path) -> Path:
    """An empty folder for socket files."""
    folder = own_folder / "starcoder-lsp"
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder
