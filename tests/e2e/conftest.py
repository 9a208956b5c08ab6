"""A real server as a child process, and two clients for it.

`Driver` is an ordinary client, made with pytest-lsp. `Wire` is for everything else: it sends bytes over a pipe or a
socket, records every message in the order of arrival, and sees the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Self

import pytest
import pytest_asyncio
import pytest_lsp
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from starcoder_lsp.engine.host.address import is_alive, known_names
from starcoder_lsp.lsp.convert import plain

ROOT = Path(__file__).parents[2]
SERVER = [sys.executable, "-m", "starcoder_lsp"]
OWN = tempfile.TemporaryDirectory(prefix="slsp-")
HOME = Path(OWN.name)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
    "HOME": OWN.name,
    "XDG_CONFIG_HOME": OWN.name,
    "XDG_RUNTIME_DIR": OWN.name,
    "PYTHONPATH": str(ROOT),
}
"""The environment of servers, without this user's settings and running hosts."""
(HOME / "starcoder-lsp").mkdir(mode=0o700)  # the folders for settings and for sockets
(HOME / "starcoder-lsp" / "starcoder-lsp.toml").write_text("[host]\nshared = false\n")
STATE = HOME / ".local" / "state" / "starcoder-lsp"
STATE.mkdir(parents=True)
(STATE / "offer.json").write_text('{"declined": "by the tests"}')  # tests of the offer have their own home folder
TIMEOUT_S = 60.0
"""A limit for every wait, long enough for a busy machine."""
EXIT_TIMEOUT_S = 2.0
"""A limit for the server's end."""
SETTINGS = {"debounce": {"mode": "off"}, "completion": {"maxTokens": 24}, "host": {"shared": False}}
ABOUT_LOADING = ("$/progress", "window/logMessage")
"""One of them reports the end of a load, unless `logLevel` excludes it."""
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, PARSE_ERROR, NOT_INITIALIZED = -32600, -32601, -32602, -32700, -32002

URI = "file:///code/example.py"
CODE = "import os\n\n\ndef read(path):\n    with open(path) as \n\n\ndef write(path, text):\n    pass\n"
CURSOR = (4, 23)
LONG = "".join(f"value_{i} = compute({i}, 'text number {i}')\n" for i in range(2000))


def capabilities(encoding: str = "utf-16") -> types.ClientCapabilities:
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=[encoding]),
        window=types.WindowClientCapabilities(work_done_progress=True),
    )


class Driver:
    """One client and the documents that it has opened."""

    def __init__(self, client: LanguageClient) -> None:
        self.client = client
        self.versions: dict[str, int] = {}

    async def start(self, settings: object = SETTINGS, encoding: str = "utf-16") -> types.InitializeResult:
        return await self.client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities(encoding), initialization_options={"starcoder": settings}, process_id=None
            )
        )

    async def model_is_loaded(self) -> dict[str, Any]:
        """Request metrics after each message about the load until the model is loaded.

        Requests without a pause would take the processor from the load.
        """
        while True:
            news = [self.client.protocol.wait_for_notification_async(method) for method in ABOUT_LOADING]
            if (report := await self.metrics())["model"] is not None:
                return report
            await asyncio.wait(news, timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)

    async def call(self, method: str, params: object = None) -> Any:
        return plain(await self.client.protocol.send_request_async(method, params))

    async def metrics(self) -> dict[str, Any]:
        """Request metrics until the session itself replies; after 80 ms the front does, with their age in `staleMs`."""
        while "staleMs" in (report := await self.call("starcoder/metrics")):
            pass
        return report

    async def until_ahead(self, n_tokens: int) -> dict[str, Any]:
        """Request metrics until more than `n_tokens` were evaluated ahead of need."""
        report = await self.metrics()
        while report["tokens"]["ahead"] <= n_tokens:
            report = await self.metrics()
        return report

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.versions[uri] = 1
        document = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def edit(
        self, uri: str, start: tuple[int, int], end: tuple[int, int], text: str, version: int | None = None
    ) -> None:
        self.versions[uri] = self.versions[uri] + 1 if version is None else version
        change = types.TextDocumentContentChangePartial(
            range=types.Range(types.Position(*start), types.Position(*end)), text=text
        )
        self._change(uri, change)

    def replace(self, uri: str, text: str) -> None:
        self.versions[uri] += 1
        self._change(uri, types.TextDocumentContentChangeWholeDocument(text=text))

    def _change(self, uri: str, change: types.TextDocumentContentChangeEvent) -> None:
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri])
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def request(
        self,
        uri: str,
        line: int,
        character: int,
        kind: types.InlineCompletionTriggerKind = types.InlineCompletionTriggerKind.Invoked,
    ) -> types.InlineCompletionParams:
        return types.InlineCompletionParams(
            context=types.InlineCompletionContext(kind),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )

    async def complete(self, uri: str, line: int, character: int) -> list[types.InlineCompletionItem] | None:
        """Return the items of one request, or `None` for the reply `null`."""
        reply = await self.client.text_document_inline_completion_async(self.request(uri, line, character))
        return None if reply is None else list(reply.items)


class Wire:
    """A server, and the messages that it sent."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, command: list[str] = SERVER) -> None:
        self.process = subprocess.Popen(  # noqa: S603  our own program
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **(env or {})},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.opened: list[str] = []
        self.errors: list[str] = []
        self.error_lines: SimpleQueue[str] = SimpleQueue()
        self._stderr = self._reading(lambda: self._read_errors(self.process.stderr))
        self._listen(self.process.stdout, self.process.stdin)

    def _listen(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self.writer = writer
        self.came: list[Any] = []
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._reader = self._reading(lambda: self._read(reader))

    def over(self, reader: BinaryIO, writer: BinaryIO) -> Self:
        """Use a socket from now on."""
        self._listen(reader, writer)
        return self

    @staticmethod
    def _reading(target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        return thread

    def _read_errors(self, stream: BinaryIO) -> None:
        for line in stream:
            self.errors.append(line.decode())
            self.error_lines.put(line.decode())

    def _read(self, stream: BinaryIO) -> None:
        """Parse messages strictly: anything else on the stream is an error that `receive` raises."""
        try:
            while header := stream.readline():
                match = re.fullmatch(rb"Content-Length: ([0-9]+)\r\n", header)
                assert match, header
                while stream.readline() != b"\r\n":
                    pass
                self._queue.put(json.loads(stream.read(int(match[1]))))
        except (AssertionError, OSError, ValueError) as error:
            self._queue.put(error)
        self._queue.put(None)

    def raw(self, data: bytes) -> None:
        self.writer.write(data)
        self.writer.flush()

    def send(self, *messages: object) -> None:
        """Send messages in one write, so that the server gets all of them at once."""
        self.raw(b"".join(framed(json.dumps(message).encode()) for message in messages))

    def receive(self) -> Any:
        """Return the next message, or `None` at the end of the stream."""
        try:
            message = self._queue.get(timeout=TIMEOUT_S)
        except Empty:
            pytest.fail(f"nothing came; so far {self.came}, on standard error {self.errors}")
        if isinstance(message, Exception):
            raise message
        if message is not None:
            self.came.append(message)
        return message

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the next message for which `wanted` is true."""
        while (message := self.receive()) is not None:
            if wanted(message):
                return message
        return pytest.fail(f"the connection ended; came {self.came}, on standard error {self.errors}")

    def reply(self, msg_id: object) -> Any:
        """Return the reply to a request, which may have arrived already."""
        for message in self.came:
            if is_reply(message, msg_id):
                return message
        return self.until(lambda message: is_reply(message, msg_id))

    def call(self, msg_id: int | str, method: str, params: object = None) -> Any:
        """Send a request and return its reply. Metrics are requested again until the session itself replies."""
        self.send(request(msg_id, method, params))
        reply = self.reply(msg_id)
        while method == "starcoder/metrics" and "staleMs" in (reply.get("result") or {}):
            self.came.remove(reply)
            self.send(request(msg_id, method, params))
            reply = self.reply(msg_id)
        return reply

    def start(self, settings: object = SETTINGS, capabilities: object = None) -> Any:
        """Initialize the server, and return its reply."""
        reply = self.call("initialize", "initialize", initialize_params(settings, capabilities))
        self.send(notification("initialized", {}))
        return reply

    def model_is_loaded(self) -> None:
        """Request metrics after each message about the load until the model is loaded."""
        n = 0
        while self.call(f"loaded {n}", "starcoder/metrics")["result"]["model"] is None:
            self.until(lambda message: message.get("method") in ABOUT_LOADING)
            n += 1

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.opened.append(uri)
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.send(notification("textDocument/didOpen", {"textDocument": document}))

    def complete(self, msg_id: int | str, uri: str, line: int, character: int, kind: int = 1) -> Any:
        return self.call(msg_id, "textDocument/inlineCompletion", completion_params(uri, line, character, kind))

    def emptied(self) -> Self:
        """Close all documents, clear the cache and drop earlier messages: a running server for the next test."""
        for uri in self.opened:
            self.send(notification("textDocument/didClose", {"textDocument": {"uri": uri}}))
        self.opened.clear()
        clear = {"command": "starcoder.clearCache"}
        assert "result" in self.call(f"emptied {time.monotonic_ns()}", "workspace/executeCommand", clear)
        self.came.clear()
        return self

    def end_well(self) -> None:
        """Stop a server that several tests used, and check its exit code and standard error."""
        code = self.stop()
        self.rest()
        assert (code, self.errors) == (0, [])

    def rest(self) -> list[Any]:
        """Return all messages until the connection ends."""
        while self.receive() is not None:
            pass
        return self.came

    def exit_code(self, timeout_s: float = EXIT_TIMEOUT_S) -> int:
        """Wait for the end of the process, and return its exit code."""
        code = self.process.wait(timeout_s)
        self._stderr.join(TIMEOUT_S)
        return code

    def stop(self) -> int:
        """Shut down as the protocol says, and return the exit code."""
        assert self.call("the last one", "shutdown")["result"] is None
        self.send(notification("exit"))
        return self.exit_code()


@contextmanager
def lasting_server(settings: object, capabilities: object = None) -> Iterator[Wire]:
    """Yield a server with a loaded model, for the tests of a module, and check afterwards that it ends well."""
    server = Wire()
    server.start(settings, capabilities)
    server.model_is_loaded()
    yield server
    server.end_well()


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def request(msg_id: object, method: str, params: object = None) -> dict[str, object]:
    return {**notification(method, params), "id": msg_id}


def notification(method: str, params: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params})


def is_reply(message: Any, msg_id: object) -> bool:
    return "method" not in message and message.get("id") == msg_id


def initialize_params(settings: object = SETTINGS, capabilities: object = None) -> dict[str, object]:
    return {
        "processId": None,
        "rootUri": None,
        "capabilities": capabilities or {},
        "initializationOptions": {"starcoder": settings},
    }


def completion_params(uri: str, line: int, character: int, kind: int = 1) -> dict[str, object]:
    """Return the parameters of a request; `kind` is 1 for an invoked one, 2 for an automatic one."""
    position = {"line": line, "character": character}
    return {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": kind}}


Start = Callable[..., Wire]


@pytest.fixture
def wire() -> Iterator[Start]:
    """Return a function that starts servers, which are killed after the test."""
    started: list[Wire] = []

    def start(*arguments: str, **options: Any) -> Wire:
        started.append(Wire(*arguments, **options))
        return started[-1]

    yield start
    for made in started:
        made.process.kill()
        made.process.wait()


@pytest.fixture(autouse=True, scope="session")
def hosts_end() -> Iterator[None]:
    """Check at the end that every host that was not shared has ended with its server."""
    yield
    deadline_s = time.monotonic() + TIMEOUT_S
    while alive := [name for name in known_names(HOME / "starcoder-lsp") if is_alive(HOME / "starcoder-lsp", name)]:
        assert time.monotonic() < deadline_s, f"hosts are still there: {alive}"


OF_A_CHILD = ClientServerConfig(server_command=SERVER, server_env=ENVIRONMENT)


@pytest_lsp.fixture(config=OF_A_CHILD)
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """A client whose server is not initialized yet."""
    yield
    await lsp_client.shutdown_session()


@pytest_lsp.fixture(config=OF_A_CHILD, scope="module")
async def lasting_client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """A client of a server with a loaded model, for all tests of a module."""
    driver = Driver(lsp_client)
    await driver.start()
    await driver.model_is_loaded()
    yield
    await lsp_client.shutdown_session()


ON_A_LASTING_SERVER = pytest.mark.asyncio(loop_scope="module")
"""For tests that use `lasting`, whose event loop is that of the module."""


@pytest_asyncio.fixture(loop_scope="module")
async def lasting(lasting_client: LanguageClient) -> AsyncIterator[Driver]:
    """A server that earlier tests used, without open documents and cached tokens. Its counters go on."""
    lasting_client.messages.clear()
    driver = Driver(lasting_client)
    yield driver
    for uri in driver.versions:
        closed = types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
        lasting_client.text_document_did_close(closed)
    await driver.call("workspace/executeCommand", types.ExecuteCommandParams("starcoder.clearCache"))
