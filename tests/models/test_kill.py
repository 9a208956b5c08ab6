"""A download killed by `kill -9` at any byte is resumed there, and the file is right each time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from starcoder_lsp.models.catalogue import Source
from starcoder_lsp.models.download import part_path
from starcoder_lsp.models.pull import remove
from starcoder_lsp.models.store import Store
from tests.hub import FakeHub, Fault
from tests.models.conftest import FILE, N_BYTES, REPOSITORY, SPELLED

N_KILLS = 50
ROOT = Path(__file__).parents[2]


@define
class Children:
    """Processes that pull, one at a time."""

    process: subprocess.Popen[str]

    def start(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def children(hub: FakeHub, tmp_path: Path) -> Iterator[Children]:
    assert hub.endpoint
    command = [sys.executable, "-m", "tests.models.pulling_children", str(tmp_path / "store"), SPELLED]
    process = subprocess.Popen(  # noqa: S603  our own program
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield Children(process)
    process.stdin.close()  # type: ignore[union-attr]
    assert process.wait(60) == 0


def n_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_download_survives_kills_at_any_byte(
    children: Children, hub: FakeHub, content: bytes, tmp_path: Path
) -> None:
    store, chance = Store(tmp_path / "store"), random.Random(7)
    path = store.path_of(Source(REPOSITORY, "main", FILE))
    n_killed = n_continued = 0
    while n_killed < N_KILLS:
        at, n_here = 0, 0
        for _ in range(chance.randint(1, 3)):
            at = chance.randint(max(at, n_here), N_BYTES)
            hub.faults.clear()
            hub.faults.append(Fault(hold_at=at))
            hub.is_holding.clear()
            hub.lets_go.clear()
            child = children.start()
            assert hub.is_holding.wait(60)
            if chance.random() < 1 / 2:  # else, on an idle machine, every kill would come before the first byte
                while not path.exists() and n_bytes(part_path(path)) < at:
                    os.sched_yield()
            os.kill(child, signal.SIGKILL)
            hub.lets_go.set()
            n_killed += children.line() == "failed"
            if path.exists():
                break  # killed after the last byte, during the last steps, or too late
            n_here = part_path(path).stat().st_size
            assert n_here <= at
        hub.faults.clear()
        hub.seen.clear()
        children.start()
        assert children.line() == "done"
        model = store.find(Source(REPOSITORY, "main", FILE))
        assert model is not None
        assert model.path.read_bytes() == content
        if 0 < n_here < N_BYTES and hub.ranges():
            assert hub.ranges() == [f"bytes={n_here}-"], "what came before the kill is not asked for again"
            n_continued += 1
        remove(model)
    assert n_continued > N_KILLS // 4
