"""A few cases of each kind on real servers, and each case that ever failed. `make soak` runs them for an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import edits, files, keystrokes, messages, workspaces
from tests.fuzz.peer import Peer
from tests.fuzz.saved import SEED, all_saved, read, saved

pytestmark = pytest.mark.timeout(600)  # the machine may be busy
CHECKS: dict[str, Callable[[Peer, Any], int]] = {
    "edits": edits.check,
    "files": files.check,
    "keystrokes": keystrokes.check,
    "messages": messages.check,
    "workspaces": workspaces.check,
}
FEW = settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))


class Peers:
    """One server for many cases; after a failure the next case gets a new one."""

    def __init__(self, encoding: str, root: Path | None = None) -> None:
        self.encoding, self._root = encoding, root
        self._peer: Peer | None = None

    def run(self, kind: str, case: Any) -> None:
        """Check a case, and save it if it fails."""
        with saved(kind, case):
            self.check(kind, case)

    def check(self, kind: str, case: Any) -> None:
        if self._peer is None:
            self._peer = Peer(self.encoding, self._root)
        try:
            CHECKS[kind](self._peer, case)
        except BaseException:
            self._peer.kill()
            self._peer = None
            raise

    def end(self) -> None:
        if self._peer is not None:
            self._peer.stop()


@pytest.fixture(scope="module", params=["utf-16", "utf-8", "utf-32"])
def each_encoding(request: pytest.FixtureRequest) -> Iterator[Peers]:
    peers = Peers(request.param)
    yield peers
    peers.end()


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    made = Peers("utf-16", root)
    yield made
    made.end()


def test_edits(each_encoding: Peers) -> None:
    @seed(SEED)
    @FEW
    @given(edits.cases(each_encoding.encoding, 4, 25))
    def run(case: Any) -> None:
        each_encoding.run("edits", case)

    run()


def test_keystrokes(peers: Peers) -> None:
    @seed(SEED)
    @FEW
    @given(keystrokes.CASES)
    def run(case: Any) -> None:
        peers.run("keystrokes", case)

    run()


def test_messages(peers: Peers) -> None:
    @seed(SEED)
    @FEW
    @given(messages.cases(4, 20))
    def run(case: Any) -> None:
        peers.run("messages", case)

    run()


def test_files(peers: Peers) -> None:
    @seed(SEED)
    @FEW
    @given(files.cases(5))
    def run(case: Any) -> None:
        peers.run("files", case)

    run()


def test_workspaces(peers: Peers) -> None:
    @seed(SEED)
    @FEW
    @given(workspaces.cases(8))
    def run(case: Any) -> None:
        peers.run("workspaces", case)

    run()


def test_a_case_that_fails_is_saved_at_its_smallest_and_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.fuzz.saved.FAILURES", tmp_path)

    @seed(0)
    @FEW
    @given(st.lists(st.integers(0, 9), max_size=9))
    def run(case: list[int]) -> None:
        with saved("edits", case, 5):
            assert sum(case) < 10

    with pytest.raises(AssertionError):
        run()
    (path,) = all_saved()
    kind, case = read(path)
    assert (kind, path.name) == ("edits", "edits-5.json")
    assert sum(case) == 10
    assert len(case) == 2


@pytest.mark.parametrize("path", all_saved() or [None], ids=lambda path: path.stem if path else "none")
def test_cases_that_failed_before(tmp_path: Path, path: Path | None) -> None:
    if path is None:
        return
    kind, case = read(path)
    peers = Peers(case.get("encoding", "utf-16"), tmp_path)
    peers.check(kind, case)
    peers.end()
