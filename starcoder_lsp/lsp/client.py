"""A small language client: starts the server as an editor does, edits, requests completions and reads their cost.

For `demo`, for benchmarks and for programs that drive the server headlessly.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from lsprotocol import types

from starcoder_lsp.lsp.child import Child
from starcoder_lsp.lsp.client_connection import ServerConnection
from starcoder_lsp.lsp.protocol import silence_pygls

SERVER_COMMAND = (sys.executable, "-m", "starcoder_lsp")


@frozen
class Change:
    """An edit: `text` replaces what is between two positions, counted from 0 in the negotiated encoding's units."""

    start_line: int
    start_character: int
    end_line: int
    end_character: int
    text: str


@frozen
class Answer:
    """The reply to one completion request: the ghost text and its cost.

    `elapsed_ms` is the time from the first message to the reply; `evaluation_ms` is the part of it inside llama.cpp's
    decode calls. Tokens are counted since the previous answer, so they include work done ahead of need.
    """

    text: str
    elapsed_ms: float
    evaluation_ms: float
    n_reused: int
    n_evaluated: int
    n_generated: int
    is_null: bool = False
    """True if the reply was `null`: the request was superseded, or the document may not be completed now."""

    @property
    def is_from_memory(self) -> bool:
        """Return whether the model was not called for this answer."""
        return self.n_evaluated == self.n_generated == 0


@define
class Client:
    """A running server and the documents that are open in it. `connect` makes it."""

    _connection: ServerConnection
    _tokens: dict[str, Any]
    _versions: dict[str, int] = field(factory=dict)

    @property
    def process_id(self) -> int:
        """The id of the server's process."""
        return self._connection.child.process_id

    @property
    def messages(self) -> list[str]:
        """The messages that the server showed to the user."""
        return self._connection.messages

    @property
    def errors(self) -> list[str]:
        """The messages that report an error, such as a model that cannot be loaded."""
        return self._connection.errors

    def open(self, uri: str, language_id: str, text: str) -> None:
        """Open a document."""
        self._versions[uri] = 1
        document = types.TextDocumentItem(uri, language_id, 1, text)
        self._connection.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def insert(self, uri: str, line: int, character: int, text: str) -> None:
        """Insert text at a position."""
        self.change(uri, [Change(line, character, line, character, text)])

    def change(self, uri: str, changes: Iterable[Change]) -> None:
        """Apply changes, each to the result of the previous one."""
        self._versions[uri] += 1
        events: list[types.TextDocumentContentChangeEvent] = [
            types.TextDocumentContentChangePartial(
                range=types.Range(
                    types.Position(change.start_line, change.start_character),
                    types.Position(change.end_line, change.end_character),
                ),
                text=change.text,
            )
            for change in changes
        ]
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self._versions[uri])
        self._connection.text_document_did_change(types.DidChangeTextDocumentParams(document, events))

    async def complete(self, uri: str, line: int, character: int, changes: Sequence[Change] = ()) -> Answer:
        """Request a completion, as an editor does after a keystroke. Send `changes`, if any, right before."""
        before = await self.metrics()
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
        started = time.perf_counter()
        if changes:
            self.change(uri, changes)
        reply = await self._connection.text_document_inline_completion_async(params)
        elapsed_ms = (time.perf_counter() - started) * 1000
        after = await self.metrics()
        items = reply.items if isinstance(reply, types.InlineCompletionList) else reply or []
        before_tokens, self._tokens = self._tokens, after["tokens"]
        return Answer(
            text=str(items[0].insert_text) if items else "",
            elapsed_ms=elapsed_ms,
            evaluation_ms=after["latencyMs"]["evaluation"] - before["latencyMs"]["evaluation"],
            n_reused=(self._tokens["reused"] or 0) - (before_tokens["reused"] or 0),
            n_evaluated=(self._tokens["evaluated"] or 0) - (before_tokens["evaluated"] or 0),
            n_generated=self._tokens["generated"] - before_tokens["generated"],
            is_null=reply is None,
        )

    def peak_memory_bytes(self) -> int | None:
        """Return the peak memory of the server and its host (`VmHWM`, Linux only), `None` if it is unknown."""
        peaks = [_status(process_id).get("VmHWM") for process_id in self.process_ids()]
        return sum(int(peak.split()[0]) * 1024 for peak in peaks if peak) or None

    def process_ids(self) -> list[int]:
        """Return the server's process and, on Linux, those that it started: its session, and its host."""
        found = {int(path.name): _status(path.name).get("PPid", "") for path in Path("/proc").glob("[0-9]*")}
        ours = [self.process_id]
        for parent in ours:
            ours += [process_id for process_id, its_parent in found.items() if its_parent == str(parent)]
        return ours

    async def metrics(self) -> dict[str, Any]:
        """Return the server's counters."""
        return await self._connection.metrics()


def _status(process_id: int | str) -> dict[str, str]:
    """Return the rows of `/proc/PID/status`, none if there is no such file."""
    try:
        rows = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


@asynccontextmanager
async def connect(
    settings: Mapping[str, object], root: Path, encoding: str = "utf-16", env: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """Start a server, wait until its model is loaded or loading has failed, and stop the server at the end.

    `env` is the server's environment; by default it is this process' own. Raises `ServerEndedError` if the server
    cannot be started, ends, or writes nothing for long while it starts. So do the client's own methods.
    """
    silence_pygls()
    connection = ServerConnection()
    params = types.InitializeParams(
        process_id=os.getpid(),
        root_uri=root.as_uri(),
        capabilities=types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(encoding)]),
            window=types.WindowClientCapabilities(work_done_progress=True),
            experimental={"starcoder": {"status": True}},
        ),
        initialization_options={"starcoder": dict(settings)},
    )
    connection.start(await Child.start(SERVER_COMMAND, env))
    try:
        yield Client(connection, (await connection.while_alive(connection.until_loaded(params)))["tokens"])
    finally:
        await connection.stop()
