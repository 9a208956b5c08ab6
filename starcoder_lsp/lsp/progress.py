"""Tell the client how far the model is loaded: `$/progress` where it can show that, its log otherwise."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

TITLE = "Loading the model"
STEP_PERCENT = 5


class LoadProgress:
    """One progress report, from `begin` to `end`."""

    def __init__(self, server: LanguageServer, log: Callable[[types.MessageType, str], None]) -> None:
        self._server = server
        self._log = log
        self._created: str | None = None
        self._token: str | None = None
        self._percent = 0

    async def create(self) -> None:
        """Ask the client for a report, if it can show one. A client may never answer: nobody has to wait for this."""
        window = self._server.client_capabilities.window
        if window is not None and window.work_done_progress:
            token = str(uuid.uuid4())
            try:
                await self._server.work_done_progress.create_async(token)
            except JsonRpcException:
                return
            self._created = token

    def begin(self) -> None:
        """Start the report."""
        self._token = self._created
        if self._token is not None:
            begin = types.WorkDoneProgressBegin(title=TITLE, percentage=0, cancellable=False)
            self._server.work_done_progress.begin(self._token, begin)

    def report(self, share: float) -> None:
        """Say how much is loaded, 0 to 1."""
        percent = int(share * 100)
        if self._token is not None and percent >= self._percent + STEP_PERCENT:
            self._percent = percent
            self._server.work_done_progress.report(self._token, types.WorkDoneProgressReport(percentage=percent))

    def end(self, message: str) -> None:
        """Finish the report."""
        if self._token is not None:
            self._server.work_done_progress.end(self._token, types.WorkDoneProgressEnd(message=message))
            self._token = None
        else:
            self._log(types.MessageType.Info, f"{TITLE}: {message}")
