"""The command line: `starcoder-lsp` alone serves an editor on standard input and output."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from argparse import ArgumentParser

STANDARD_ERROR = 2
FAILED = 2
"""The exit code of a command that failed. One line on standard error says why."""
OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""Errors of writing to a pipe without a reader, or to a full device."""
PLAIN_SERVE = (["serve"], ["serve", "--stdio"])
SHOW_CURSOR = b"\r\x1b[?25h\x1b[K"
"""The cursor is visible (DECTCEM), and the rest of the line erased (EL)."""


class CommandError(Exception):
    """A command cannot go on. The error's text is one line for the user."""


def warn(message: str) -> None:
    """Write a message to the user on standard error."""
    write_error_line(f"starcoder-lsp: {message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    reopen_closed_streams()
    accept_all_characters()
    if argv is None:
        signal.signal(signal.SIGINT, _interrupted)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith(("--tcp", "--stdio")):
        arguments.insert(0, "serve")
    try:
        try:
            return run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except CommandError as error:
        warn(str(error))
        return FAILED
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        discard_output()
        warn(f"standard output: {error.strerror}")
        return FAILED


def _interrupted(_signal: int, _frame: object) -> None:
    """End the process at Ctrl-C, with the cursor that a progress bar has hidden. The model is in another process."""
    if os.isatty(STANDARD_ERROR):
        os.write(STANDARD_ERROR, SHOW_CURSOR)
    os.write(STANDARD_ERROR, b"starcoder-lsp: interrupted\n")
    os._exit(FAILED)


def reopen_closed_streams() -> None:
    """Open the null device for each closed standard stream.

    Otherwise the next file or socket would get the stream's number, and prints would write into it. `sys.stdin` and
    `sys.stdout` stay `None`, so that a command that needs them can refuse to run.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(fd, True)  # noqa: FBT003  it takes no keyword
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STANDARD_ERROR, "w", closefd=False)


def accept_all_characters() -> None:
    """Have standard output show what its encoding lacks as an escape, as standard error does, and raise no error."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def write_error_line(line: str) -> None:
    """Write a line to standard error, and ignore errors of writing."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def discard_output() -> None:
    """Redirect standard output to the null device, so that Python's last flush cannot fail."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: Sequence[str]) -> int:
    """Import and run one command. The others are not imported, for `serve` and `host` not even the parser."""
    if sys.stdout is None and arguments[0] != "serve":  # which over TCP needs none
        message = "standard output is closed"
        raise CommandError(message)
    options = _known(arguments) or _parsed(arguments)
    module, _, function = options.pop("runs").rpartition(".")
    code: int = getattr(import_module(f"starcoder_lsp.cli.{module}"), function)(**options)
    return code


def _known(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options of a start that somebody waits for, without the parser; nothing for all others."""
    if arguments in PLAIN_SERVE:
        return {"runs": "serve.serve"}
    if len(arguments) == 3 and arguments[0] == "host":  # noqa: PLR2004  a server writes it
        return {"runs": "host.host", "name": arguments[1], "options": arguments[2]}
    return {}


def _parsed(arguments: Sequence[str]) -> dict[str, Any]:
    parser: ArgumentParser = import_module("starcoder_lsp.cli.parser").parser()
    return vars(parser.parse_args(arguments))
