"""The record of suggestions of one server: begins and ends it as the settings say, and shows its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from attrs import define

from starcoder_lsp.session.session import Session
from starcoder_lsp.settings import Settings
from starcoder_lsp.stats.store import user_paths

LAST_WRITE_S = 1.0
"""How long the end of a server waits for the record to be written."""


@define(eq=False)
class Statistics:
    """Runs the writer while `stats.enabled` is true and the client's window is not private. On the event loop."""

    session: Session
    on_message: Callable[[str], None]
    is_private: bool = False
    """Whether the client says that its window leaves no traces."""
    _wanted: bool = False
    _changing: asyncio.Task[None] | None = None
    _checking: asyncio.Task[None] | None = None
    _close: Callable[[float], bool] | None = None
    _failed: bool = False

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
        writer = Writer(paths, settings.stats.days, tell)
        writer.start()
        self._close = writer.close
        self.session.observation.start(writer, keys, self.session.client)
        self._checking = asyncio.create_task(self.session.observation.keep_checking())

    async def note_model(self, settings: Settings) -> None:
        """Record which model file the suggestions come from, if it is on this machine."""
        from starcoder_lsp.engine.loading import model_path
        from starcoder_lsp.stats.model_hash import hash_of_model

        is_here = settings.engine.kind == "local"
        path = model_path(settings) if is_here else None
        self.session.observation.model_hash = await asyncio.to_thread(hash_of_model, path) if path else ""

    async def end(self) -> None:
        """Write what is there and end the record."""
        close, self._close = self._close, None
        if self._checking is not None:
            self._checking.cancel()
        if close is not None:
            self.session.observation.stop()
            await asyncio.to_thread(close, LAST_WRITE_S)
