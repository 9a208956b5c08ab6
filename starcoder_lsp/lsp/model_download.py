"""Download a model from inside the editor: ask for the licence, and show a `$/progress` that the user can cancel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from starcoder_lsp.engine.model_file import ModelFileError, check_model_file
from starcoder_lsp.lsp.progress import Progress, cancellable_progress
from starcoder_lsp.lsp.questions import ask, open_page
from starcoder_lsp.models.licence import Acceptances
from starcoder_lsp.models.pull import Plan, Puller, Wanted, remove
from starcoder_lsp.models.store import StoredModel

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server

ACCEPT, READ, DECLINE = "Accept and download", "Read the licence", "No"
GB: Final = 10**9


async def bring(server: Server, name: str) -> dict[str, str] | None:
    """Download a model, and return its name or path for the settings; `None` if the user refused or cancelled.

    `name` is one of the catalogue's, or `ORG/REPO:FILE`. Raises `ModelsError` and `NoButtonsError`.
    """
    wanted = Wanted.of(name)
    puller = Puller()
    plan = await puller.plan(wanted)
    for note in plan.notes:
        server.log(types.MessageType.Info, f"{wanted.name}: {note}")
    if plan.stored is None and not await _is_licence_accepted(server, plan):
        return None
    stored = await _download(server, puller, plan)
    if stored is None:
        return None
    try:
        await asyncio.to_thread(check_model_file, stored.path)
    except ModelFileError:
        remove(stored)
        raise
    return {"name": wanted.entry.name} if wanted.entry is not None else {"path": str(stored.path)}


async def _is_licence_accepted(server: Server, plan: Plan) -> bool:
    """Ask once for a revision of a model, and record the answer."""
    acceptances, name, licence = Acceptances(), plan.wanted.name, plan.licence
    if acceptances.has(name, licence, plan.revision):
        return True
    title = plan.wanted.entry.title if plan.wanted.entry is not None else str(plan.wanted.source)
    asks = "\n".join(f"• {line}" for line in licence.asks)
    message = f"{title}, {plan.n_bytes / GB:.1f} GB, is under {licence.title}:\n{asks}\nThe whole text: {licence.url}"
    buttons: tuple[str, ...] = (ACCEPT, READ, DECLINE)
    while (pressed := await ask(server, message, buttons)) == READ:
        if not await open_page(server, licence.url):
            buttons = (ACCEPT, DECLINE)  # the address stands in the message
    if pressed == ACCEPT:
        acceptances.add(name, licence, plan.revision)
    return pressed == ACCEPT


async def _download(server: Server, puller: Puller, plan: Plan) -> StoredModel | None:
    """Download the files of `plan` and show the progress. Return `None` if the user cancels."""
    title = plan.wanted.name
    try:
        async with cancellable_progress(server, f"Downloading {title}", percent=0) as progress:
            return await puller.pull(plan, _Reporter(progress).report)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        message = f"the download of {title} was cancelled. The downloaded part is kept: starcoder.pullModel continues"
        server.show_message(types.MessageType.Info, message)
        return None


class _Reporter:
    """Reports each percent once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._percent = -1

    def report(self, n_bytes: int, n_all: int) -> None:
        """Show that `n_bytes` of `n_all` bytes were downloaded."""
        percent = 100 * n_bytes // max(n_all, 1)
        if percent > self._percent and self._progress.is_shown:
            self._percent = percent
            self._progress.report(f"{n_bytes / GB:.2f} of {n_all / GB:.2f} GB", percent=percent)
