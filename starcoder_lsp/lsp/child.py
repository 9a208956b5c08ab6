"""Run a server as a child process: its output, its last line of standard error, and its end.

asyncio's own `wait` also waits for the pipes, which a grandchild may hold open long after the child has ended.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

LAST_WORDS_TIMEOUT_S = 0.3
"""The time between the end of the process and the end of its output, whichever comes first. Not measured."""
N_LAST_BYTES = 4096
KILL_TIMEOUT_S = 1.0


class ServerEndedError(Exception):
    """The server has ended, could not be started, or does not answer. The error's text is one line for the user."""


class Child(asyncio.SubprocessProtocol):
    """A running program. Its `output` ends soon after the process, even if another process holds the pipe open."""

    _transport: asyncio.SubprocessTransport
    _stdin: asyncio.WriteTransport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.output = asyncio.StreamReader()
        self.heard_at = self._loop.time()
        self._errors = b""
        self._no_more_errors = asyncio.Event()
        self._exited = asyncio.Event()
        self._parted = asyncio.Event()

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str] | None) -> Self:
        """Start a program. Raises `ServerEndedError` if it cannot be started."""
        try:
            _, child = await asyncio.get_running_loop().subprocess_exec(
                cls,
                *command,
                env=env,
                start_new_session=True,  # Ctrl-C in a terminal is this program's alone
            )
        except OSError as error:
            message = f"the server cannot be started: {command[0]}: {error.strerror or error}"
            raise ServerEndedError(message) from error
        return child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the pipes."""
        assert isinstance(transport, asyncio.SubprocessTransport)  # noqa: S101  as asyncio says
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)  # noqa: S101  as asyncio says
        self._transport, self._stdin = transport, stdin

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass its output on; keep the end of its standard error."""
        self.heard_at = self._loop.time()
        if fd != 1:
            self._errors = (self._errors + data)[-N_LAST_BYTES:]
        elif not self.output.at_eof():
            self.output.feed_data(data)

    def pipe_connection_lost(self, fd: int, _error: Exception | None) -> None:
        """Note that a pipe is closed."""
        if fd == 1:
            self.output.feed_eof()
        elif fd != 0:
            self._no_more_errors.set()

    def process_exited(self) -> None:
        """Note the end of the process; the pipes may still hold output."""
        self._exited.set()
        self._loop.call_later(LAST_WORDS_TIMEOUT_S, self.output.feed_eof)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end of the process and of all pipes."""
        self._parted.set()

    @property
    def process_id(self) -> int:
        """The id of the process."""
        return self._transport.get_pid()

    @property
    def has_exited(self) -> bool:
        """Return whether the process has ended."""
        return self._exited.is_set()

    def write(self, data: bytes) -> None:
        """Write to the child's standard input while it is open."""
        if not self._stdin.is_closing():
            self._stdin.write(data)

    def close(self) -> None:
        """Close the child's standard input."""
        self._stdin.close()

    async def exited(self) -> None:
        """Wait for the end of the process."""
        await self._exited.wait()

    async def last_words(self) -> str:
        """Return one line on how the child ended: its last line of standard error, or its exit code."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_TIMEOUT_S):
                await self._exited.wait()
                await self._no_more_errors.wait()
        lines = [line for line in self._errors.decode("utf-8", "replace").splitlines() if line.strip()]
        if not self.has_exited:
            return ": ".join(["the server closed its standard output", *lines[-1:]])
        return f"the server ended: {lines[-1].strip() if lines else _spelled(self._transport.get_returncode())}"

    async def part(self) -> None:
        """Kill the child if it still runs, and close the pipes."""
        if not self.has_exited:
            self._transport.kill()
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await self._parted.wait()


def _spelled(return_code: int | None) -> str:
    """Return a description of a process' end, for one that wrote nothing to standard error."""
    if return_code is not None and return_code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-return_code).name}"
    return f"exit code {return_code}, and it said nothing"
