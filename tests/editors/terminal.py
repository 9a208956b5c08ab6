"""An editor in a terminal, driven through tmux: keys in, the screen out."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, field
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

POLL_S = 0.02
TIMEOUT_S = 60.0
"""A limit for every wait, long enough for a busy machine."""
COLUMNS, ROWS = 92, 24
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {terminal_width} {terminal_height}">
<style>text {{ font: {char_height}px monospace }} {styles}</style>
<rect width="100%" height="100%" fill="#0c0c0c"/>
<defs>{lines}</defs>
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</svg>
"""
"""rich's own template draws the frame of a window and fetches fonts."""


def until(condition: Callable[[], object], otherwise: Callable[[], str]) -> None:
    """Wait for a condition; fail with a text after `TIMEOUT_S`."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            pytest.fail(otherwise())
        time.sleep(POLL_S)


@define
class Terminal:
    """One tmux server with one window."""

    socket: Path
    seen: list[str] = field(factory=list)
    """The different screens that `shows` has read, in order."""

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout  # noqa: S603

    def start(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        variables = [f"{name}={value}" for name, value in environment.items()]
        self.tmux(
            *("set-option", "-g", "default-terminal", "tmux-256color", ";"),
            *("set-option", "-g", "escape-time", "0", ";"),
            *("set-option", "-g", "remain-on-exit", "on", ";"),
            *("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder)),
            *("env", "-i", *variables, *command),
        )

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names: `C-y`, `M-n`, `Escape`."""
        self.tmux("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a text. A line end is the key Enter."""
        self.tmux("send-keys", "-l", text.replace("\n", "\r"))

    def screen(self) -> str:
        screen = self.tmux("capture-pane", "-p")
        if not self.seen or self.seen[-1] != screen:
            self.seen.append(screen)
        return screen

    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor, from 0."""
        row, column = self.tmux("display-message", "-p", "#{cursor_y} #{cursor_x}").split()
        return int(row), int(column)

    def until_cursor(self, row: int, column: int) -> None:
        """Wait until the cursor is at a place."""
        wanted = (row, column)
        until(lambda: self.cursor() == wanted, lambda: f"the cursor is at {self.cursor()}, not {wanted}")

    def shows(self, text: str) -> None:
        """Wait until a text is on the screen."""
        until(lambda: text in self.screen(), lambda: f"the screen does not show {text!r}:\n{self.screen()}")

    def hides(self, text: str) -> None:
        """Wait until a text is not on the screen."""
        until(lambda: text not in self.screen(), lambda: f"the screen still shows {text!r}:\n{self.screen()}")

    def picture(self, path: Path) -> None:
        """Write the screen as a picture, and beside it as text with colours."""
        path.parent.mkdir(parents=True, exist_ok=True)
        coloured = self.tmux("capture-pane", "-e", "-p", "-N")
        path.with_suffix(".ansi").write_text(coloured)
        with (path.parent / ".console").open("w") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
            console.print(Text.from_ansi(coloured.rstrip("\n"), no_wrap=True), crop=False, overflow="ignore")
            path.write_text(console.export_svg(title="", theme=MONOKAI, code_format=SVG, unique_id="screen"))

    def has_ended(self) -> bool:
        """Return whether the editor has ended."""
        return self.tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def stop(self) -> None:
        self.tmux("kill-server")
