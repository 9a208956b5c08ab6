"""Connect to the host of a model, or start it, and describe how a host ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import NAME_TAKEN, Address, sweep
from starcoder_lsp.engine.host.early import EARLY, spawn
from starcoder_lsp.engine.host.options import HostOptions

LISTEN_S = 60.0
"""The time that a host has to start listening: Python and some imports. Not measured; generous for a busy machine."""
WELCOME_S = 10.0
"""The time that a host has to welcome a client. Not measured: its event loop does nothing that takes long."""
END_S = 1.6
"""The time to wait for the exit code of a host whose connection ended: it writes states for up to 1.5 s
(`server.LAST_WORK_S`)."""
LIBRARY_STAGES = ("", "listening", "importing")
"""Stages before the model is touched: a crash in one of them is the library's own."""


@define(eq=False)
class HostProcess:
    """A host that this process started. A thread waits for its end, so that it does not become a zombie."""

    process: subprocess.Popen[bytes]
    stage: str = ""
    """The last stage that it reported."""
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)
    _has_reported: asyncio.Event = field(factory=asyncio.Event)
    _ended: asyncio.Event = field(factory=asyncio.Event)

    @classmethod
    def start(cls, options: HostOptions, address: Address) -> HostProcess:
        """Start a host. Raises `EngineError` if the system cannot."""
        try:
            return cls.of(spawn(address.name, options.to_json().decode(), address.log))
        except OSError as error:
            message = f"the process for the model cannot be started ({error.strerror or error})"
            raise EngineError(message) from error

    @classmethod
    def of(cls, process: subprocess.Popen[bytes]) -> HostProcess:
        """Watch a host that was just started."""
        host = cls(process)
        threading.Thread(target=host._watch, name="host", daemon=True).start()
        return host

    def _watch(self) -> None:
        """Read the stages that the host reports until it is ready or has ended, then wait for its end."""
        assert self.process.stdout is not None  # noqa: S101  it is a pipe
        with suppress(OSError, ValueError, RuntimeError):
            for line in self.process.stdout:
                self._loop.call_soon_threadsafe(self._on_stage, line.decode("utf-8", "replace").strip())
            self.process.stdout.close()
        self.process.wait()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._on_end)

    def _on_stage(self, stage: str) -> None:
        self.stage = stage
        self._has_reported.set()

    def _on_end(self) -> None:
        self._ended.set()
        self._has_reported.set()

    async def listens(self) -> bool:
        """Wait until it listens; return false if it ended before. Raises `EngineError` after `LISTEN_S`."""
        try:
            async with asyncio.timeout(LISTEN_S):
                await self._has_reported.wait()
        except TimeoutError as error:
            self.process.kill()
            message = f"the process for the model did not begin to listen within {LISTEN_S:.0f} s"
            raise EngineError(message) from error
        return bool(self.stage)

    async def exit_code(self) -> int | None:
        """Wait up to `END_S` for its end; return the exit code, or `None` if it still runs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._ended.wait()
        return self.process.poll()


@define(eq=False)
class HostConnection:
    """A connection that the host has welcomed. `process` is set if this process started the host."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    process_id: int
    address: Address
    process: HostProcess | None = None

    def send(self, message: wire.ToHost) -> None:
        """Send a message. The reader notices a lost connection."""
        if not self.writer.is_closing():
            self.writer.write(wire.framed(message))

    async def ended(self) -> None:
        """Wait up to `END_S` until the host ends the connection."""
        with suppress(TimeoutError, OSError, wire.WireError):
            async with asyncio.timeout(END_S):
                while await wire.read_from_host(self.reader) is not None:
                    pass

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


async def join(options: HostOptions, address: Address, client: str) -> HostConnection | None:
    """Connect to a running host, or return `None` if there is none. Raises `EngineError` if it refuses."""
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
    """Return the state and the clients of a host with any settings. Raises `OSError` if it does not answer."""
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
        message = answer.reason if isinstance(answer, wire.Refused) else "it does not report its status"
        raise ConnectionError(message)
    return status


async def join_or_start(options: HostOptions, address: Address, client: str) -> HostConnection | HostProcess:
    """Connect to the host, and start one if there is none. Return the process if it ended before that.

    Raises `EngineError`.
    """
    deadline_s = time.monotonic() + LISTEN_S
    while True:
        early = EARLY.take(address.name, options.to_json().decode())
        connection = None if early is not None else await join(options, address, client)
        if connection is not None:
            return connection
        if time.monotonic() > deadline_s:
            message = f"another process has {address.path('.lock')} and does not listen; end it"
            raise EngineError(message)
        process = HostProcess.start(options, address) if early is None else HostProcess.of(early)
        try:
            if not await process.listens() and await process.exit_code() != NAME_TAKEN:
                return process
            connection = await join(options, address, client)
        except asyncio.CancelledError:  # no client will connect
            process.process.terminate()
            await process.exit_code()
            sweep(address.folder)
            raise
        if connection is not None:
            connection.process = process if process.stage else None
            return connection
        if process.stage:  # it was listening and is gone
            return process
        await asyncio.sleep(0.05)  # another host has the name and does not listen yet


def last_words(address: Address) -> str:
    """Return the last line of a host's log, such as a failed assertion, or an empty text."""
    with suppress(OSError):
        lines = Path(address.log).read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""


def how_it_ended(exit_code: int | None) -> str:
    """Return an exit code in words."""
    if exit_code is None:
        return "its connection broke"
    if exit_code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-exit_code).name}"
    return f"it ended with code {exit_code}"
