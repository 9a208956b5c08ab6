"""Ctrl-C in a terminal while a command shows its progress: one line, the exit code, and the cursor is visible again."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.catalogue_hub import catalogue_hub
from tests.e2e.conftest import ENVIRONMENT, SERVER, TIMEOUT_S
from tests.hub import FakeHub, Fault, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudoterminals")
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
CTRL_C = b"\x03"
INTERRUPTED = 2


class Terminal:
    """A command in its own terminal, which passes Ctrl-C on to it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._screen, theirs = pty.openpty()
        # the first terminal that the leader of a session opens becomes its own
        self.process = subprocess.Popen(  # noqa: S603  our own program
            ["/bin/sh", "-c", 'exec <"$0" >"$0" 2>&1 && exec "$@"', os.ttyname(theirs), *command],
            env=environment | {"TERM": "xterm", "COLUMNS": "100"},
            start_new_session=True,
        )
        self._theirs: int | None = theirs  # kept open until the command writes, or reading would end too early
        self.shown = b""

    def read(self) -> bool:
        """Read the next output; return false at its end."""
        assert select.select([self._screen], [], [], TIMEOUT_S)[0], self.shown
        try:
            data = os.read(self._screen, 4096)
        except OSError:  # Linux reports the end of a terminal as an error
            return False
        if self._theirs is not None:
            os.close(self._theirs)
            self._theirs = None
        self.shown += data
        return bool(data)

    def wait_for(self, text: bytes) -> None:
        while text not in self.shown:
            assert self.read(), self.shown

    def type(self, data: bytes) -> None:
        os.write(self._screen, data)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self.read():
            pass
        return self.process.wait(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(catalogue_hub()) as made:
        made.faults.append(Fault(hold_at=100_000))
        yield made
        made.lets_go.set()


def test_ctrl_c_during_a_download_shows_the_cursor_again(hub: FakeHub, tmp_path: Path) -> None:
    """The hub keeps back the rest of the file."""
    clean = {name: value for name, value in ENVIRONMENT.items() if not name.lower().endswith("_proxy")}
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HF_ENDPOINT": hub.endpoint}
    command = [*SERVER, "models", "pull", "starcoder2-3b", "--accept-licence"]
    with Terminal(command, {**clean, **own, "no_proxy": "127.0.0.1"}) as terminal:
        terminal.wait_for(HIDE)
        assert hub.is_holding.wait(TIMEOUT_S)
        terminal.type(CTRL_C)
        assert_interrupted(terminal)


def test_ctrl_c_during_a_spinner_shows_the_cursor_again(tmp_path: Path) -> None:
    """The signal comes right after the cursor is hidden."""
    script = (
        "import os, signal, rich.live, starcoder_lsp.cli as cli\n"
        "start = rich.live.Live.start\n"
        "def started(self, *arguments):\n"
        "    start(self, *arguments)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "rich.live.Live.start = started\n"
        "raise SystemExit(cli.main())\n"
    )
    with Terminal([sys.executable, "-c", script, "doctor"], ENVIRONMENT | {"HOME": str(tmp_path)}) as terminal:
        assert_interrupted(terminal)


def assert_interrupted(terminal: Terminal) -> None:
    assert terminal.end() == INTERRUPTED, terminal.shown
    assert re.findall(rb"\x1b\[\?25[lh]", terminal.shown)[-2:] == [HIDE, SHOW]
    assert terminal.shown.rstrip().endswith(b"starcoder-lsp: interrupted")
    assert b"Traceback" not in terminal.shown
