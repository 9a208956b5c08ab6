"""Progress of work, reported to the client by `$/progress` where the client can show it.

The protocol has no token of the client's for loading a model or resolving a code action, so the server creates one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from starcoder_lsp.front.lives import LOADING as LOADING_TOKEN

LOADING = "Loading the model"
STEP_PERCENT = 5
"""A report for each percent would be 100 messages in a second or two. Not measured."""


class Progress:
    """One piece of work with a token. It is shown between `begin` and `end` if the client has created the token."""

    def __init__(self, server: LanguageServer, token_start: str = "") -> None:
        window = server.client_capabilities.window
        self._can_show = window is not None and bool(window.work_done_progress)
        self._shown = server.work_done_progress
        self._token = f"{token_start}{uuid.uuid4()}"
        self._is_created = False
        self.is_shown = False

    async def create(self) -> None:
        """Ask the client to create the token. A client may never answer, so no work may wait for this."""
        if self._can_show:
            with suppress(JsonRpcException):
                await self._shown.create_async(self._token)
                self._is_created = True

    def begin(self, title: str, *, percent: int | None = None, on_cancel: Callable[[], object] | None = None) -> None:
        """Show the work. With `on_cancel`, the user may cancel it."""
        if self._is_created:
            begin = types.WorkDoneProgressBegin(title=title, percentage=percent, cancellable=on_cancel is not None)
            self._shown.begin(self._token, begin)
            self.is_shown = True
            if on_cancel is not None:
                self._shown.tokens[self._token].add_done_callback(lambda _cancelled: on_cancel())

    def report(self, message: str | None = None, *, percent: int | None = None) -> None:
        """Show how far the work is."""
        if self.is_shown:
            self._shown.report(self._token, types.WorkDoneProgressReport(message=message, percentage=percent))

    def end(self, message: str | None = None) -> None:
        """Show that the work is over."""
        if self.is_shown:
            self._shown.end(self._token, types.WorkDoneProgressEnd(message=message))
        self.is_shown = False
        self._shown.tokens.pop(self._token, None)


class LoadProgress:
    """The progress of loading the model. Its end goes to the client's log if the client shows no progress."""

    def __init__(self, server: LanguageServer, log: Callable[[types.MessageType, str], None]) -> None:
        self._progress = Progress(server, LOADING_TOKEN)
        self._log = log
        self._percent = 0
        self.create = self._progress.create

    def begin(self) -> None:
        """Show that the model is being loaded."""
        self._progress.begin(LOADING, percent=0)

    def report(self, share: float) -> None:
        """Show how much is loaded, 0 to 1."""
        percent = int(share * 100)
        if percent >= self._percent + STEP_PERCENT:
            self._percent = percent
            self._progress.report(percent=percent)

    def end(self, outcome: str) -> None:
        """Show the outcome."""
        if not self._progress.is_shown:
            self._log(types.MessageType.Info, f"{LOADING}: {outcome}")
        self._progress.end(outcome)


@asynccontextmanager
async def cancellable_progress(
    server: LanguageServer, title: str, *, percent: int | None = None
) -> AsyncIterator[Progress]:
    """Show the progress of the current task. If the user cancels it there, the task is cancelled."""
    progress, task = Progress(server), asyncio.current_task()

    async def begin() -> None:
        await progress.create()
        progress.begin(title, percent=percent, on_cancel=task.cancel if task is not None else None)

    beginning = asyncio.ensure_future(begin())
    try:
        yield progress
    finally:
        if beginning.done():
            progress.end()
        else:  # a client that waits for the reply first answers later, and would show progress that never ends
            beginning.add_done_callback(lambda _begun: progress.end())
