"""The host of the last start, which the next one starts before it knows its settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.host import early
from starcoder_lsp.engine.host.early import EarlyStart, HostRecord

KNOWN = [{"name": "an editor"}, {"starcoder": {}}]


class Started:
    """Takes the place of `spawn`: runs a process that waits for its end, and notes what it was started for."""

    def __init__(self, spawn: Any) -> None:
        self.spawn, self.names = spawn, []

    def __call__(self, name: str, options: str, _log: Path) -> Any:
        self.names.append((name, options))
        command = [sys.executable, "-c", "import sys; print('listening', flush=True); sys.stdin.read()"]
        return early.subprocess.Popen(command, stdin=early.subprocess.PIPE, stdout=early.subprocess.PIPE)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    spawned = Started(early.spawn)
    monkeypatch.setattr(early, "spawn", spawned)
    return spawned


@pytest.fixture
def record(tmp_path: Path) -> HostRecord:
    """The record of a host whose model file is there."""
    (tmp_path / "model").write_text("weights")
    (tmp_path / "run").mkdir()
    return HostRecord.of("key", '{"a": 1}', tmp_path / "run", [str(tmp_path / "model")], is_shared=True)


def of(tmp_path: Path, known: object = KNOWN) -> EarlyStart:
    """Begin as a new process does."""
    start = EarlyStart(tmp_path / "state" / "hosts.json")
    start.begin(known, tmp_path / "settings.toml")
    return start


def test_a_host_is_started_early_once_it_was_wanted_and_for_the_same_circumstances(
    tmp_path: Path, record: HostRecord, started: Started
) -> None:
    assert of(tmp_path).settle(record) == ""
    assert started.names == []
    second = of(tmp_path)
    assert started.names == [("key", '{"a": 1}')]
    assert second.settle(record) == "key"
    process = second.take("key", '{"a": 1}')
    assert process is not None
    assert second.take("key", '{"a": 1}') is None
    second.end()
    assert process.poll() is None  # it is in use
    process.kill()
    process.wait()
    of(tmp_path, [{"name": "another editor"}, {"starcoder": {}}]).end()
    of(tmp_path, [{"name": "an editor"}, {"starcoder": {"engine": {"kind": "vllm"}}}]).end()
    assert len(started.names) == 1
    (tmp_path / "settings.toml").write_text("[engine]")
    of(tmp_path).end()
    assert len(started.names) == 1


@pytest.mark.parametrize("change", ["the model", "no model", "it runs", "no folder"])
def test_nothing_is_started_where_the_record_does_not_hold(
    tmp_path: Path, record: HostRecord, started: Started, change: str
) -> None:
    of(tmp_path).settle(record)
    if change == "the model":
        (tmp_path / "model").write_text("other weights")
    elif change == "no model":
        (tmp_path / "model").unlink()
    elif change == "it runs":
        (tmp_path / "run" / "key.sock").touch()
    else:
        (tmp_path / "run").rmdir()
    of(tmp_path).end()
    assert started.names == []


@pytest.mark.parametrize("wanted", ["another", "none"])
def test_a_host_that_is_not_wanted_is_ended(tmp_path: Path, record: HostRecord, started: Started, wanted: str) -> None:
    of(tmp_path).settle(record)
    second = of(tmp_path)
    assert second._started is not None
    process = second._started.process
    other = HostRecord.of("other", "{}", tmp_path / "run", [], is_shared=True)
    assert second.settle(other if wanted == "another" else None) == ""
    assert process.wait(60) != 0
    assert second.take("key", '{"a": 1}') is None
    of(tmp_path).end()
    assert [name for name, _ in started.names] == ["key", *(["other"] if wanted == "another" else [])]


def test_a_host_of_one_server_alone_gets_a_new_name_each_time(
    tmp_path: Path, record: HostRecord, started: Started
) -> None:
    own = evolve(record, is_shared=False)
    of(tmp_path).settle(own)
    names = set()
    for _ in range(2):
        start = of(tmp_path)
        names.add(start.settle(own))
        start.end()
    assert {name for name, _ in started.names} == names
    assert len(names) == 2
    assert all(name.startswith("key-") for name in names)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "is_shared", "folder", "options", "files", "x"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(content=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), entry=JSON)
def test_a_damaged_file_starts_nothing_and_is_replaced(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, entry: Any
) -> None:
    folder = tmp_path_factory.mktemp("early")
    start = EarlyStart(folder / "hosts.json")
    (folder / "hosts.json").write_bytes(content)
    start.begin(KNOWN, folder / "settings.toml")
    assert start._started is None
    (folder / "hosts.json").write_text(json.dumps({start._circumstances: entry}))
    start.begin(KNOWN, folder / "settings.toml")
    assert start._started is None
    record = HostRecord.of("key", "{}", folder, [], is_shared=True)
    start.settle(record)
    assert HostRecord.read(start._records()[start._circumstances]) == record


def test_the_file_has_no_more_than_its_limit(tmp_path: Path, record: HostRecord, started: Started) -> None:
    for number in range(early.MAX_RECORDS + 4):
        of(tmp_path, [number]).settle(record)
    assert len(of(tmp_path, ["x"])._records()) == early.MAX_RECORDS
    of(tmp_path, [early.MAX_RECORDS + 3]).end()
    of(tmp_path, [0]).end()
    assert len(started.names) == 1
