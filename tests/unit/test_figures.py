"""A progress bar ends with its items, by an error too, so that it hides no message and keeps no process alive."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.pace import watching

TIMEOUT_S = 60
FORCED = {"": "no terminal", "1": "a terminal"}
ABANDONED = """
import gc
from starcoder_lsp.cli.bench.pace import watching

gc.disable()

def abandon():
    with watching(range(9), 9, "counting") as items:
        cycle = [iter(items)]
        cycle.append(cycle)  # only the collector frees it, as the process ends
        next(cycle[0])
        raise SystemExit(7)

abandon()
"""


@pytest.fixture(params=FORCED, ids=FORCED.values(), autouse=True)
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("FORCE_COLOR", request.param)
    return bool(request.param)


def test_items_pass_through_unchanged(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    with watching(iter("abc"), 3, "counting") as items:
        assert list(items) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert ("counting" in err) == terminal


def test_an_error_ends_the_bar_and_its_thread(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with pytest.raises(CommandError) as raised, watching(range(9), 9, "counting") as items:  # noqa: PT012  the loop
        for _ in items:
            message = "out of luck"
            raise CommandError(message)
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    capsys.readouterr()
    del raised, items
    gc.collect()
    assert capsys.readouterr().err == ""  # no control sequence follows the message


def test_a_process_with_an_abandoned_bar_ends() -> None:
    ran = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, check=False, timeout=TIMEOUT_S)  # noqa: S603
    assert ran.returncode == 7
