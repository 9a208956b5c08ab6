"""Offer StarCoder2 in place of the demonstrator: once after its first suggestion, and by a command.

The client shows the questions as messages with buttons. The chosen model is written into the user's own settings file
and loaded at once.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.lsp.questions import NoButtonsError, ask, has_buttons
from starcoder_lsp.models.advice import look_at_machine, recommend
from starcoder_lsp.models.bandwidth import bandwidth
from starcoder_lsp.models.catalogue import Entry, entries
from starcoder_lsp.models.chosen import choose
from starcoder_lsp.models.found import FoundModel, find_models
from starcoder_lsp.models.offer import Offer
from starcoder_lsp.models.store import path_of_entry
from starcoder_lsp.printable import printable
from starcoder_lsp.settings_layers import user_file

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server

FILE, SERVER, NOT_NOW = "Use a file…", "Use a server…", "Not now"
GB: Final = 10**9
MAX_BUTTONS: Final = 6
"""The most models offered in one message; `starcoder-lsp models list` shows all. Not measured."""
COMMAND: Final = "starcoder-lsp models pull"


class ModelOffer:
    """The questions about models of one server, one at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Return whether a question is open, other than the offer, or a download is running."""
        return self._task is not None and not self._task.done()

    def make(self) -> None:
        """Offer a StarCoder2 model, unless the user has refused the offer for good."""
        if not Offer().was_declined:
            self._start(self._offer())

    def get(self, name: str | None) -> None:
        """Get the model called `name`, or let the user choose one. Does nothing while another one is chosen or got."""
        self._start(self._choose() if name is None else self._get(name))

    def _start(self, work: Any) -> None:
        if self.is_busy:
            work.close()
            return
        self._task = asyncio.ensure_future(self._guarded(work))

    async def _guarded(self, work: Any) -> None:
        """Run some work, and show its errors to the user: no request waits for it."""
        try:
            await work
        except EngineError as error:
            self._server.show_message(types.MessageType.Error, str(error))
        except NoButtonsError:
            self._say(f"choose a model on the command line: {COMMAND} NAME, or starcoder-lsp models list")

    async def _offer(self) -> None:
        best = await asyncio.to_thread(_recommended)
        text = "suggestions come from a small demonstrator, which shows that everything works and is often wrong"
        if not has_buttons(self._server):
            if not Offer().was_mentioned:
                Offer().mention()
                self._say(f"{text}. For StarCoder2: {COMMAND} {best.name}")
            return
        get = _button(best)
        own, self._task = self._task, None  # many users never answer, and a command may come in its place
        pressed = await ask(self._server, f"{text}.", (get, FILE, SERVER, NOT_NOW))
        if self.is_busy:
            return
        self._task = own
        if pressed == get:
            await self._get(best.name)
        elif pressed == FILE:
            await self._choose_file()
        elif pressed == SERVER:
            self._say(f"set engine.kind and engine.url in {user_file()}; docs/settings.md lists them")
        elif pressed == NOT_NOW:
            Offer().decline()
            self._say(f"no model was chosen. Later: the command starcoder.pullModel, or {COMMAND} {best.name}")

    async def _choose(self) -> None:
        """Let the user choose among the catalogue's models, the recommended one first."""
        best = await asyncio.to_thread(_recommended)
        models = [best, *(entry for entry in entries().values() if entry != best)][: MAX_BUTTONS - 2]
        by_button = {_button(entry): entry.name for entry in models}
        pressed = await ask(self._server, "which model?", (*by_button, FILE, NOT_NOW))
        if pressed == FILE:
            await self._choose_file()
        elif pressed in by_button:
            await self._get(by_button[pressed])

    async def _get(self, name: str) -> None:
        # The HTTP library takes 0.2 s to import, which the event loop must not wait for.
        downloads: Any = await asyncio.to_thread(import_module, "starcoder_lsp.lsp.model_download")
        model = await downloads.bring(self._server, name)
        if model is not None:
            await self._use(**model)

    async def _choose_file(self) -> None:
        """Let the user choose a file: by the client's own dialog, or among those that other programs have here."""
        if self._server.client_picks_files:
            self._server.protocol.notify("starcoder/selectModel", None)
            return
        found = (await asyncio.to_thread(find_models))[:MAX_BUTTONS]
        if not found:
            self._say(
                "no StarCoder model of another program was found here. Name a file: starcoder-lsp models use PATH"
            )
            return
        by_button = {_found_button(each): each for each in found}
        pressed = await ask(self._server, "which file? It is used in place.", (*by_button, NOT_NOW))
        if pressed in by_button:
            await self._use(path=str(by_button[pressed].path))

    async def _use(self, *, name: str = "", path: str = "") -> None:
        """Write the choice into the user's settings and load the model."""
        await asyncio.to_thread(choose, user_file(), name=name, path=path)
        own_path = self._server.configuration.own_model_path
        if name and own_path:
            self._say(
                f"{name} is used until the editor ends. Then model.path of its settings counts again; remove it"
                f" there: {printable(own_path)}"
            )
        self._server.choose({"model": {"name": name, "path": path}})
        await self._server.load_model()

    def _say(self, message: str) -> None:
        self._server.show_message(types.MessageType.Info, message)


def _recommended() -> Entry:
    return recommend(look_at_machine(bandwidth())).entry


def _button(entry: Entry) -> str:
    """Return the text of a button, such as `Get StarCoder2 3B (1.8 GB)…`; without a size for a downloaded model."""
    if path_of_entry(entry) is not None:
        return f"Use {entry.title}"
    return f"Get {entry.title} ({entry.n_bytes / GB:.1f} GB)…"


def _found_button(found: FoundModel) -> str:
    return f"{found.name.rpartition('/')[2]} ({found.place}, {found.file.n_bytes / GB:.1f} GB)"
