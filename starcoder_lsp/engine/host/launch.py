"""Find the host of a model, or start it; and what is known of one that died."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import NAME_TAKEN, Address, sweep
from starcoder_lsp.engine.host.options import HostOptions

LISTEN_S = 60.0
"""How long a host may take from its start until it listens: Python and some imports, on a very busy machine."""
WELCOME_S = 10.0
"""How long a host may take to welcome a client: its event loop does nothing that takes long."""
END_S = 1.6
"""How long it may take until a process whose connection ended is known to have ended, and how: it may write states."""
LIBRARY_STAGES = ("", "listening", "importing")
"""Stages before the model is touched: what crashes there is the library itself."""


@define(eq=False)
class HostProcess:
    """A host that this process started. A thread of its own waits for it, so that it never stays a zombie."""

    process: subprocess.Popen[bytes]
    stage: str = ""
    """How far it said it is."""
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)
    _news: asyncio.Event = field(factory=asyncio.Event)
    _ended: asyncio.Event = field(factory=asyncio.Event)

    @classmethod
    def start(cls, options: HostOptions, address: Address) -> HostProcess:
        """Start a host. Raises `EngineError` if the system cannot."""
        command = [sys.executable, "-m", "starcoder_lsp", "host", address.name, options.to_json().decode()]
        try:
            descriptor = os.open(address.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as log:
                process = subprocess.Popen(  # noqa: S603  our own program
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                )
        except OSError as error:
            message = f"the process for the model cannot be started ({error.strerror or error})"
            raise EngineError(message) from error
        host = cls(process)
        threading.Thread(target=host._watch, name="host", daemon=True).start()
        return host

    def _watch(self) -> None:
        """Read what it says until it is ready or gone, and then wait for its end."""
        assert self.process.stdout is not None  # noqa: S101  it is a pipe
        with suppress(OSError, ValueError, RuntimeError):
            for line in self.process.stdout:
                self._loop.call_soon_threadsafe(self._hear, line.decode("utf-8", "replace").strip())
            self.process.stdout.close()
        self.process.wait()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _hear(self, stage: str) -> None:
        self.stage = stage
        self._news.set()

    def _end(self) -> None:
        self._ended.set()
        self._news.set()

    async def listens(self) -> bool:
        """Wait until it listens; false if it ended before. Raises `EngineError` after a long time."""
        try:
            async with asyncio.timeout(LISTEN_S):
                await self._news.wait()
        except TimeoutError as error:
            self.process.kill()
            message = f"the process for the model did not begin to listen within {LISTEN_S:.0f} s"
            raise EngineError(message) from error
        return bool(self.stage)

    async def exit_code(self) -> int | None:
        """How it ended; `None` if it lives on although nobody can reach it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._ended.wait()
        return self.process.poll()


@define(eq=False)
class HostConnection:
    """A connection that the host has welcomed. `process` is there if it was started here."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    process_id: int
    address: Address
    process: HostProcess | None = None

    def send(self, message: wire.ToHost) -> None:
        """Send a message; a lost connection shows where it is read."""
        if not self.writer.is_closing():
            self.writer.write(wire.framed(message))

    async def ended(self) -> None:
        """Wait until the host ends the connection, but not for long."""
        with suppress(TimeoutError, OSError, wire.WireError):
            async with asyncio.timeout(END_S):
                while await wire.read_from_host(self.reader) is not None:
                    pass

    def close(self) -> None:
        """Leave."""
        self.writer.close()


async def join(options: HostOptions, address: Address, client: str) -> HostConnection | None:
    """Connect to a host that runs; `None` if there is none. Raises `EngineError` if it refuses."""
    try:
        reader, writer, secret = await address.connect()
    except OSError:
        return None
    writer.write(wire.framed(wire.Hello(options.key, secret, os.getpid(), client)))
    try:
        async with asyncio.timeout(WELCOME_S):
            welcome = await wire.read_from_host(reader)
    except wire.WireError:
        welcome = None
    except TimeoutError as error:
        writer.close()
        message = "the process of the model does not answer; `starcoder-lsp doctor` names it, and you may end it"
        raise EngineError(message) from error
    if isinstance(welcome, wire.Welcome):
        return HostConnection(reader, writer, welcome.process_id, address)
    writer.close()
    if isinstance(welcome, wire.Refused):
        message = f"the process of the model refuses this server: {welcome.reason}"
        raise EngineError(message)
    return None


async def inquire(address: Address) -> dict[str, Any]:
    """How a host is and who its clients are, whatever its settings. Raises `OSError` if it does not say."""
    reader, writer, secret = await address.connect()
    try:
        writer.write(wire.framed(wire.Inquiry(secret)))
        answer = await wire.read_from_host(reader)
        status = wire.value_of(answer) if isinstance(answer, wire.Done) else None
    except wire.WireError as error:
        raise ConnectionError(str(error)) from error
    finally:
        writer.close()
    if not isinstance(status, dict):
        message = answer.reason if isinstance(answer, wire.Refused) else "it does not say how it is"
        raise ConnectionError(message)
    return status


async def join_or_start(options: HostOptions, address: Address, client: str) -> HostConnection | HostProcess:
    """Connect to the host, which is started if there is none; a process that ended before is returned as it is.

    Raises `EngineError`.
    """
    deadline_s = time.monotonic() + LISTEN_S
    while True:
        connection = await join(options, address, client)
        if connection is not None:
            return connection
        if time.monotonic() > deadline_s:
            message = f"another process has {address.path('.lock')} and does not listen; end it"
            raise EngineError(message)
        process = HostProcess.start(options, address)
        try:
            if not await process.listens() and await process.exit_code() != NAME_TAKEN:
                return process
            connection = await join(options, address, client)
        except asyncio.CancelledError:  # nobody will come
            process.process.terminate()
            await process.exit_code()
            sweep(address.folder)
            raise
        if connection is not None:
            connection.process = process if process.stage else None
            return connection
        if process.stage:  # it listened, and is gone
            return process
        await asyncio.sleep(0.05)  # another one has the name and does not listen yet


def last_words(address: Address) -> str:
    """The last line that a host wrote to its log, such as a failed assertion; empty if there is none."""
    with suppress(OSError):
        lines = Path(address.log).read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""


def how_it_ended(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is None:
        return "its connection broke"
    if exit_code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-exit_code).name}"
    return f"it ended with code {exit_code}"
