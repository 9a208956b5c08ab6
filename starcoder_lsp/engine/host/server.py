"""The host: one process, one model, any number of clients of the same user. The only process with llama.cpp in it.

It listens before it loads, so that clients which connect meanwhile wait for the same model. The event loop reads and
writes messages; the model thread (`local/worker.py`) does everything else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial

from attrs import define, field

from starcoder_lsp import __version__
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import NAME_TAKEN, Address, Listener, TakenError, check_peer, sweep
from starcoder_lsp.engine.host.connection import Connection
from starcoder_lsp.engine.host.early import END_IF_UNUSED
from starcoder_lsp.engine.host.model import LoadedModel, load, report_stage
from starcoder_lsp.engine.host.options import HostOptions

FIRST_CLIENT_S = 30.0
"""The time that a host waits for its first client. Not measured: its starter connects within milliseconds."""
HELLO_S = 5.0
"""The time that a client has to send `Hello`. Not measured."""
FAILURE_S = 1.0
"""The time that a host stays after loading failed, for clients that are just connecting. Not measured."""
LAST_WORK_S = 1.5
"""The time for writing KV states to disk before the process ends: a server must end two seconds after `exit`."""
PROGRESS_STEP = 0.05
"""Progress is reported in steps of this share."""


@define(eq=False)
class Host:
    """The state of the process. On the event loop, but for loading."""

    options: HostOptions
    listener: Listener
    clients: dict[str, Connection] = field(factory=dict)
    model: LoadedModel | None = None
    failure: str = ""
    """The error because of which the model cannot be loaded; empty if there is none."""
    _n_clients_ever: int = 0
    _reported_share: float = 0.0
    _end: asyncio.Event = field(factory=asyncio.Event)
    _idle_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until no client needs the host any more, or until a signal ends the process."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):
            loop.add_signal_handler(END_IF_UNUSED, self._end_if_unused)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._end.set)
        await self.listener.listen(self.accept)
        has_starter = report_stage("listening")
        self._restart_idle_timer(FIRST_CLIENT_S if has_starter else 0.0)
        threading.Thread(target=self._load, args=(loop,), name="load", daemon=True).start()
        await self._end.wait()
        for client in list(self.clients.values()):
            client.writer.transport.abort()
        if self.model is not None:
            self.model.worker.close(LAST_WORK_S)

    def _end_if_unused(self) -> None:
        if not self.clients:
            self._end.set()

    # Loading

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load the model. On a thread of its own: the event loop welcomes clients meanwhile."""

        def on_progress(share: float) -> None:
            loop.call_soon_threadsafe(self._report_progress, share)

        try:
            model = load(self.options, on_progress)
        except EngineError as error:
            loop.call_soon_threadsafe(self._on_failed, str(error))
            return
        loop.call_soon_threadsafe(self._on_loaded, model)

    def _report_progress(self, share: float) -> None:
        if share >= self._reported_share + PROGRESS_STEP:
            self._reported_share = share
            for client in self.clients.values():
                client.send(wire.Loading(share))

    def _on_failed(self, message: str) -> None:
        self.failure = message
        for client in self.clients.values():
            client.send(wire.Failed(message))
        asyncio.get_running_loop().call_later(FAILURE_S, self._end.set)  # the next start may succeed

    def _on_loaded(self, model: LoadedModel) -> None:
        self.model = model
        model.worker.on_death = partial(asyncio.get_running_loop().call_soon_threadsafe, self._end.set)
        model.worker.start()
        if not report_stage("ready") and not self.clients:
            self._end.set()  # the starter ended before it connected
        with suppress(OSError):  # the starter reads to the end of standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for client in self.clients.values():
            client.send(self._ready(model))

    def _ready(self, model: LoadedModel) -> wire.Ready:
        return wire.Ready(model.context.n_gpu_layers, model.context.prefill_speed, self.options.caution)

    # Clients

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        client = None
        try:
            client = await self._welcome(reader, writer)
            while client is not None and (message := await wire.read_from_client(reader)) is not None:
                client.receive(message)
        except (wire.WireError, TimeoutError, OSError) as error:
            with suppress(OSError):
                writer.write(wire.framed(wire.Refused(str(error) or type(error).__name__)))
        finally:
            if client is not None:
                del self.clients[client.name]
                if self.model is not None:
                    self.model.worker.leave(client.name)
                self._restart_idle_timer()  # not for a refused one: strangers must not keep the host alive
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        """Read the client's introduction and accept it; return `None` if the connection ends here.

        Raises `wire.WireError`, `PermissionError` and `TimeoutError`.
        """
        connection = writer.get_extra_info("socket")
        if self.listener.address.transport == "socket":
            check_peer(connection)
        async with asyncio.timeout(HELLO_S):
            hello = await wire.read_from_client(reader)
        if hello is None:
            return None
        if not isinstance(hello, wire.Hello | wire.Inquiry) or not self.listener.knows(hello.secret):
            error = "who are you?"
            raise wire.WireError(error)
        if isinstance(hello, wire.Inquiry):
            writer.write(wire.framed(wire.Done(0, wire.raw(self.status()))))
            return None
        if hello.key != self.options.key:
            error = "another model, other settings or another version"
            raise wire.WireError(error)
        self._n_clients_ever += 1
        name = str(self._n_clients_ever)
        client = self.clients[name] = Connection(self, name, hello.process_id, hello.name, writer)
        self._restart_idle_timer()
        client.send(wire.Welcome(os.getpid()))
        if self.failure:
            client.send(wire.Failed(self.failure))
        elif self.model is not None:
            client.send(self._ready(self.model))
        return client

    def _restart_idle_timer(self, timeout_s: float | None = None) -> None:
        """End the host after a time without clients: `timeout_s`, or what the options say.

        A host of one server alone ends at once.
        """
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if not self.clients:
            idle_s = self.options.idle_s if self.options.is_shared else 0.0
            after_s = idle_s if timeout_s is None else timeout_s
            self._idle_timer = asyncio.get_running_loop().call_later(after_s, self._end.set)

    def end_for(self, connection: Connection) -> None:
        """End the host because a client requests it, if it is the only one."""
        if list(self.clients.values()) == [connection]:
            self._end.set()

    def status(self) -> dict[str, object]:
        """Return the host's state and its clients, for `doctor`."""
        context = self.model.context if self.model is not None else None
        return {
            "processId": os.getpid(),
            "version": __version__,
            "state": "failed" if self.failure else "loading" if context is None else "ready",
            "isShared": self.options.is_shared,
            "model": self.options.path,
            "caution": self.options.caution,
            "gpuLayers": context.n_gpu_layers if context is not None else 0,
            "prefillSpeed": context.prefill_speed if context is not None else 0.0,
            "clients": [{"name": each.client, "processId": each.process_id} for each in self.clients.values()],
        }


def serve(options: HostOptions, name: str) -> int:
    """Run the host named `name`, and return the exit code."""
    address = Address.of(name, options.transport)
    try:
        listener = Listener.claim(address)
    except TakenError:
        return NAME_TAKEN
    sweep(address.folder, keep=name)
    try:
        asyncio.run(Host(options, listener).run())
    finally:
        listener.close()
    return 0
