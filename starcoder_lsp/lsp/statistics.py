"""Begin and end the record of suggestions as the settings say, and show its messages to the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from attrs import define
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from starcoder_lsp.session.session import Session
from starcoder_lsp.settings import Settings
from starcoder_lsp.stats.events import Event
from starcoder_lsp.stats.gate import Gate, read_learnt, shipped, with_learnt
from starcoder_lsp.stats.gate_learning import Learner
from starcoder_lsp.stats.store import user_paths

LAST_WRITE_S = 1.0
"""The time for which the server's end waits until the record is written. Not measured."""


@define(eq=False)
class Statistics:
    """Runs the writer while `stats.enabled` is true and the client's window is not private. On the event loop."""

    session: Session
    on_message: Callable[[str], None]
    is_private: bool = False
    """True if the client says that its window is private, so nothing may be recorded."""
    _wanted: bool = False
    _failed: bool = False
    _changing: asyncio.Task[None] | None = None
    _checking: asyncio.Task[None] | None = None
    _close: Callable[[float], bool] | None = None
    _learner: Learner | None = None

    def apply(self, settings: Settings) -> None:
        """Begin or end the record where the settings changed."""
        self._wanted = settings.stats.enabled and not self.is_private
        if not self._wanted and self._close is not None:
            self.session.observation.stop()  # at once: nothing more is kept
        if self._changing is None or self._changing.done():
            with suppress(RuntimeError):  # before the event loop runs
                self._changing = asyncio.get_running_loop().create_task(self._change(settings))

    async def _change(self, settings: Settings) -> None:
        while self._wanted != (self._close is not None) and not self._failed:
            if self._wanted:
                await self._start(settings)
            else:
                await self.end()

    async def _start(self, settings: Settings) -> None:
        from starcoder_lsp.stats.writer import Writer  # sqlite3 is not loaded before `initialize` is answered

        loop, paths = asyncio.get_running_loop(), user_paths()

        def tell(message: str) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.on_message, message)

        try:
            keys = await asyncio.to_thread(paths.prepare)
        except OSError as error:
            self._failed = True
            self.on_message(f"no statistics are recorded: {error.filename or paths.folder}: {error.strerror}")
            return
        writer = Writer(paths, settings.stats.days, tell, self._learn)
        writer.start()
        self._close = writer.close
        self.session.gatekeeper.needs_features = True
        self.session.observation.start(writer, keys, self.session.client)
        self._checking = asyncio.create_task(self.session.observation.keep_checking())

    def _learn(self, events: Iterable[Event]) -> None:
        """Let the gate learn, on the writer's thread."""
        learner = self._learner
        if learner is not None:
            learner.take(events)

    async def note_model(self, settings: Settings) -> None:
        """Record the hash of the model file, if it is on this machine, and load the gate that was trained for it."""
        from starcoder_lsp.engine.loading import model_path
        from starcoder_lsp.stats.model_hash import hash_of_model

        loop, path = asyncio.get_running_loop(), user_paths().gate
        file = model_path(settings) if settings.engine.kind == "local" else None
        model_hash = await asyncio.to_thread(hash_of_model, file) if file else ""
        gate = await asyncio.to_thread(lambda: with_learnt(shipped(), model_hash, read_learnt(path)))

        def change_gate(changed: Gate) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(setattr, self.session.gatekeeper, "gate", changed)

        self.session.observation.model_hash, self.session.gatekeeper.gate = model_hash, gate
        self._learner = Learner(gate, path, model_hash, change_gate)

    async def page(self) -> str:
        """Return the report as a page, with what git says of the workspace's folders. Raises `JsonRpcException`."""
        from starcoder_lsp.stats.page import page_of
        from starcoder_lsp.stats.report import report_of
        from starcoder_lsp.stats.source import StatsError, gather, is_repository

        roots = self.session.history.roots

        def make() -> str:
            return page_of(report_of(gather(user_paths(), filter(is_repository, roots)).totals))

        try:
            return await asyncio.to_thread(make)
        except StatsError as problem:
            raise JsonRpcException(str(problem), types.LSPErrorCodes.RequestFailed) from problem

    async def end(self) -> None:
        """Write the queued events and end the record."""
        close, self._close = self._close, None
        if self._checking is not None:
            self._checking.cancel()
        if close is not None:
            self.session.gatekeeper.needs_features = False
            self.session.observation.stop()
            await asyncio.to_thread(close, LAST_WRITE_S)
