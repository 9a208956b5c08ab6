"""Runs pip and shows how far it is: one line that is written over, or in a log a line for each tenth of the compiling.

    python pip_progress.py LOG COMMAND...

COMMAND is `pip install --verbose` or the like: without --verbose pip keeps the compiler's output to itself. All of it
goes to LOG; where the command fails its last lines are shown. Ends with the command's own exit code.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

FETCHING = re.compile(r"Collecting ([\w.\[\],-]+)")
BUILDING = re.compile(r"\s+Building (?:wheel|editable) for (\S+) .*: started")
BY_NINJA = re.compile(r"\s*\[(\d+)/(\d+)\] ")
BY_MAKE = re.compile(r"\s*\[ *(\d+)%\] ")
N_LAST_LINES = 40
WIDEST = 400  # a compiler's command has thousands of characters


class Display:
    """The line on the terminal, or lines in a log."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._begun_s = time.monotonic()
        self._package, self._tenths = "", -1

    def fetching(self, package: str) -> None:
        """Show the package that pip looks at, on a terminal only."""
        if self._on_terminal:
            self._write(f"fetching {package}")

    def building(self, package: str) -> None:
        """Say once that something is built."""
        self._package, self._tenths = package, -1
        self._write(f"building {package}")

    def compiled(self, done: int, of: int) -> None:
        """Show the compiler's progress."""
        if self._on_terminal or 10 * done // of > self._tenths:
            self._tenths = 10 * done // of
            self._write(f"building {self._package}: {done} of {of}")

    def end(self) -> None:
        """Clear the line."""
        if self._on_terminal:
            print("\r\x1b[K", end="", flush=True)

    def _write(self, text: str) -> None:
        line = f"  {text}, {self._elapsed()}"
        if self._on_terminal:
            print(f"\r\x1b[K{line}", end="", flush=True)
        else:
            print(line, flush=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._begun_s), 60)
        return f"{minutes}:{seconds:02}"


def run(log: Path, command: list[str]) -> int:
    """Run the command to its end and return its exit code."""
    display, last_lines = Display(), deque[str](maxlen=N_LAST_LINES)
    with (
        log.open("w", encoding="utf-8") as written,
        subprocess.Popen(  # noqa: S603  the Makefile's own
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        ) as process,
    ):
        for line in process.stdout or ():
            written.write(line)
            if found := BY_NINJA.match(line):
                display.compiled(int(found[1]), int(found[2]))
            elif found := BY_MAKE.match(line):
                display.compiled(int(found[1]), 100)
            else:
                last_lines.append(line.rstrip()[:WIDEST])
                if found := FETCHING.match(line):
                    display.fetching(found[1])
                elif found := BUILDING.match(line):
                    display.building(found[1])
    display.end()
    if process.returncode != 0:
        print(*last_lines, f"That failed. All of the output: {log}", sep="\n", flush=True)
    return process.returncode


if __name__ == "__main__":
    try:
        sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
