"""The front notices the end of the editor's process by whatever system call there is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from starcoder_lsp.front import editor_process

TIMEOUT_S = 60.0


def no_such_call(*_arguments: object) -> int:
    raise AttributeError


def not_permitted(*_arguments: object) -> int:
    raise PermissionError


def no_descriptor_left(*_arguments: object) -> int:
    raise OSError(24, "Too many open files")


@pytest.fixture(params=[None, no_such_call, not_permitted, no_descriptor_left])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way in which a system may lack the call that Linux has."""
    if request.param is not None:
        monkeypatch.setattr(os, "pidfd_open", request.param, raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")
    monkeypatch.setattr(editor_process, "POLL_INTERVAL_S", 0.05)


@pytest.fixture
def editor() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


@pytest.mark.usefixtures("means")
def test_the_end_of_a_process_is_noticed(editor: subprocess.Popen[bytes]) -> None:
    ended = threading.Event()
    editor_process.watch(editor.pid, ended.set)
    assert not ended.is_set()
    editor.communicate(b"\n")
    assert ended.wait(TIMEOUT_S)


@pytest.mark.usefixtures("means")
def test_a_process_that_ended_before_is_noticed(editor: subprocess.Popen[bytes]) -> None:
    editor.communicate(b"\n")
    for process_id in (editor.pid, 2**40):
        ended = threading.Event()
        editor_process.watch(process_id, ended.set)
        assert ended.wait(TIMEOUT_S)


@pytest.mark.usefixtures("means")
@pytest.mark.parametrize("process_id", [0, -1])
def test_without_a_process_nothing_is_watched(process_id: int) -> None:
    """To the system, 0 and negative numbers are groups of processes."""
    before = threading.active_count()
    editor_process.watch(process_id, unwanted)
    assert threading.active_count() == before


def test_a_process_of_another_user_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    def kill(*_arguments: object) -> None:
        looked.set()
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", not_permitted, raising=False)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(editor_process, "POLL_INTERVAL_S", 0.01)
    editor_process.watch(1, unwanted)
    looked.clear()
    assert looked.wait(TIMEOUT_S)


def unwanted() -> None:
    pytest.fail("the end of what was not to be watched")
