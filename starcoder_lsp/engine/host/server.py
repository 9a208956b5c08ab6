"""The host: one process, one model, any number of clients of the same user. The only process with llama.cpp in it.

It listens before it loads, so that whoever comes meanwhile waits for the same model. The event loop reads and writes
messages; the model thread (`local/worker.py`) does all the rest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from starcoder_lsp import __version__
from starcoder_lsp.engine.engine import EngineError, Sampling
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import Address, Listener, TakenError, check_peer, sweep
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.stream import Token, Usage

if TYPE_CHECKING:
    from starcoder_lsp.engine.local.jobs import Job
    from starcoder_lsp.engine.local.llama import LlamaContext
    from starcoder_lsp.engine.local.worker import Worker

NAME_TAKEN = 75
"""Exit code of a host that found another one under its name (EX_TEMPFAIL)."""
FIRST_CLIENT_S = 30.0
"""How long a host waits for its first client."""
HELLO_S = 5.0
"""How long a connection may take to say who it is."""
LAST_WORK_S = 1.5
"""How long writing KV states to disk may delay the end of the process."""
MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""A client that leaves so much unread is not alive."""
STEP = 0.05
"""Progress is told in steps of this share."""


def tell_starter(stage: str) -> bool:
    """Tell whoever started this process how far it is; false if it is gone."""
    with suppress(OSError, ValueError):
        sys.stdout.write(f"{stage}\n")
        sys.stdout.flush()
        return True
    return False


@define(eq=False)
class Connection:
    """One client and its requests. On the event loop."""

    host: Host
    name: str
    process_id: int
    client: str
    writer: asyncio.StreamWriter
    jobs: dict[int, Job] = field(factory=dict)

    def send(self, message: wire.ToClient) -> None:
        """Send a message, unless the client does not read any more."""
        if self.writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.writer.transport.abort()
        elif not self.writer.is_closing():
            self.writer.write(wire.framed(message))

    def receive(self, message: wire.ToHost) -> None:
        """Do what a message asks for. Raises `wire.WireError` for one that makes no sense."""
        worker, context = self.host.worker, self.host.context
        if worker is None or context is None or isinstance(message, wire.Hello | wire.Inquiry):
            error = "this message is not expected now"
            raise wire.WireError(error)
        match message:
            case wire.Generate():
                self._generate(worker, message)
            case wire.Close(request, kept):
                job = self.jobs.pop(request, None)
                if job is not None:
                    worker.cancel(job, kept)
            case wire.Drop(request, answer):
                if request in self.jobs:
                    worker.drop(self.jobs[request], answer)
            case wire.Persist(document):
                worker.persist(self.host.owner(self.name, document))
            case wire.Forget(request):
                worker.forget(self.name)
                self._answer_later(request, worker, lambda: None)
            case wire.End():
                self.host.end_for(self)
            case _:
                self._answer(message, worker, context)

    def _answer(
        self,
        message: wire.Cached | wire.Score | wire.Measure | wire.Status,
        worker: Worker,
        context: LlamaContext,
    ) -> None:
        """Answer a question."""
        match message:
            case wire.Cached(request):
                rows = [(each.document, each.n_tokens, each.where) for each in worker.cached(self.name)]
                self.send(wire.Done(request, wire.raw(rows)))
            case wire.Status(request):
                self.send(wire.Done(request, wire.raw(self.host.status())))
            case wire.Score(request, ids, heal, targets):
                from starcoder_lsp.engine.local.measure import score

                self._answer_later(request, worker, lambda: score(context, worker.scratch(), ids, heal, targets))
            case wire.Measure(request, n_tokens):
                from starcoder_lsp.engine.local.measure import measure

                self._answer_later(request, worker, lambda: measure(context, worker.scratch(), n_tokens))

    def _generate(self, worker: Worker, message: wire.Generate) -> None:
        from starcoder_lsp.engine.local.decoding import Decoding

        asked = Decoding(
            ids=tuple(message.ids),
            stop_ids=frozenset(message.stop_ids),
            heal=message.heal,
            max_new_tokens=max(1, message.max_new_tokens),
            n_answers=message.n_answers,
            beam_margin_nats=message.beam_margin_nats,
            sampling=Sampling(message.temperature, message.seed),
        )
        listener = JobListener(self, message.request)
        owner = self.host.owner(self.name, message.document)
        self.jobs[message.request] = worker.submit(owner, asked, listener, is_ahead=message.is_ahead)

    def _answer_later(self, request: int, worker: Worker, work: Callable[[], object]) -> None:
        """Do something on the model thread, and send what comes of it."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                done = wire.Done(request, wire.raw(work()))
            except EngineError as error:
                done = wire.Done(request, wire.raw(None), str(error))
            loop.call_soon_threadsafe(self.send, done)

        worker.call(run)


@define(eq=False)
class JobListener:
    """Sends what a job comes to. Called on the model thread."""

    connection: Connection
    request: int
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Some tokens were chosen."""
        rows = [(token.answer, token.id, token.logprob, token.end) for token in tokens]
        message = wire.Tokens(self.request, rows, usage.n_reused, usage.n_evaluated, usage.evaluation_ms)
        self._loop.call_soon_threadsafe(self.connection.send, message)

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:
        """The job is done."""
        speed = self.connection.host.prefill_speed
        spent = (usage.n_reused, usage.n_evaluated, usage.evaluation_ms)
        message = wire.Ended(self.request, *spent, is_complete, speed, error)
        self._loop.call_soon_threadsafe(self._end, message)

    def _end(self, message: wire.Ended) -> None:
        self.connection.jobs.pop(self.request, None)
        self.connection.send(message)


@define(eq=False)
class Host:
    """The process' state. On the event loop, but for loading."""

    options: HostOptions
    listener: Listener
    clients: dict[str, Connection] = field(factory=dict)
    context: LlamaContext | None = None
    worker: Worker | None = None
    failure: str = ""
    _n_clients_ever: int = 0
    _told_share: float = 0.0
    _end: asyncio.Event = field(factory=asyncio.Event)
    _idle: asyncio.TimerHandle | None = None

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens a second."""
        return self.context.prefill_speed if self.context is not None else 0.0

    def owner(self, client: str, document: str) -> Any:
        """Whose cells a document's are."""
        from starcoder_lsp.engine.local.kv_cache import Owner

        return Owner(client, document)

    async def run(self) -> None:
        """Serve until nobody is here any more, or until the process is told to end."""
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGINT"):
            with suppress(NotImplementedError, AttributeError):
                loop.add_signal_handler(getattr(signal, name), self._end.set)
        await self.listener.listen(self.accept)
        has_starter = tell_starter("listening")
        self._expect_clients(FIRST_CLIENT_S if has_starter else 0.0)
        threading.Thread(target=self._load, args=(loop,), name="load", daemon=True).start()
        await self._end.wait()
        for client in list(self.clients.values()):
            client.writer.transport.abort()
        if self.worker is not None:
            self.worker.close(LAST_WORK_S)

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load the model. On a thread of its own: the event loop welcomes clients meanwhile."""

        def on_progress(share: float) -> None:
            loop.call_soon_threadsafe(self._tell_share, share)

        try:
            worker, context = load(self.options, on_progress)
        except EngineError as error:
            loop.call_soon_threadsafe(self._fail, str(error))
            return
        loop.call_soon_threadsafe(self._loaded, worker, context)

    def _tell_share(self, share: float) -> None:
        if share >= self._told_share + STEP:
            self._told_share = share
            for client in self.clients.values():
                client.send(wire.Loading(share))

    def _fail(self, message: str) -> None:
        self.failure = message
        for client in self.clients.values():
            client.send(wire.Failed(message))
        self._expect_clients(1.0)

    def _loaded(self, worker: Worker, context: LlamaContext) -> None:
        self.worker, self.context = worker, context
        worker.on_death = partial(asyncio.get_running_loop().call_soon_threadsafe, self._end.set)
        worker.start()
        tell_starter("ready")
        with suppress(OSError):  # the starter reads to the end of this
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for client in self.clients.values():
            client.send(self._ready())

    def _ready(self) -> wire.Ready:
        assert self.context is not None  # noqa: S101  it is loaded
        return wire.Ready(self.context.n_gpu_layers, self.context.prefill_speed, self.options.caution)

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
                if self.worker is not None:
                    self.worker.leave(client.name)
                self._expect_clients()  # who was not let in changes nothing
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        """Read who it is, and let it in; `None` if it does not stay.

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
        self._expect_clients()
        client.send(wire.Welcome(os.getpid()))
        if self.failure:
            client.send(wire.Failed(self.failure))
        elif self.context is not None:
            client.send(self._ready())
        return client

    def _expect_clients(self, wait_s: float | None = None) -> None:
        """End after a while without clients: at once where the host is one server's own."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self.clients or self.failure:
            own_s = self.options.idle_s if self.options.is_shared else 0.0
            after_s = own_s if wait_s is None else wait_s
            self._idle = asyncio.get_running_loop().call_later(after_s, self._end.set)

    def end_for(self, client: Connection) -> None:
        """End because a client wants that, if it is the only one. Whoever comes now finds no host here."""
        if list(self.clients.values()) == [client]:
            self._end.set()

    def status(self) -> dict[str, object]:
        """Who is here, and how the host is, for `doctor`."""
        return {
            "processId": os.getpid(),
            "version": __version__,
            "state": "failed" if self.failure else "loading" if self.context is None else "ready",
            "isShared": self.options.is_shared,
            "model": self.options.path,
            "caution": self.options.caution,
            "gpuLayers": self.context.n_gpu_layers if self.context is not None else 0,
            "prefillSpeed": self.prefill_speed,
            "clients": [{"name": each.client, "processId": each.process_id} for each in self.clients.values()],
        }


def load(options: HostOptions, on_progress: Callable[[float], None]) -> tuple[Worker, LlamaContext]:
    """Load the model and warm it up. Raises `EngineError`."""
    from starcoder_lsp.engine.host.rebuild import rebuild_command
    from starcoder_lsp.engine.prompt_model import read_prompt_model

    model = read_prompt_model(Path(options.path), options.n_context)
    tell_starter("importing")
    try:
        from starcoder_lsp.engine.local import llama
    except (ImportError, OSError, RuntimeError) as error:
        message = f"llama-cpp-python cannot be loaded ({error}); build it anew: {rebuild_command()}"
        raise EngineError(message) from error
    from starcoder_lsp.engine.local.parking import ParkedStates
    from starcoder_lsp.engine.local.state_files import state_files
    from starcoder_lsp.engine.local.worker import Worker

    tell_starter("loading")
    n_cells = options.n_context * (2 if options.is_shared else 1)
    context = llama.LlamaContext(
        llama.LoadOptions(
            path=Path(options.path),
            n_cells=n_cells,
            n_model_bytes=model.n_bytes,
            n_gpu_layers=options.n_gpu_layers,
            n_threads=options.n_threads,
            use_extra_buffers=options.use_extra_buffers,
            use_flash_attention=options.use_flash_attention,
        ),
        model.tokenizer.pieces,
        on_progress,
    )
    tell_starter("warming up")
    context.warm_up()
    files = state_files(options.n_disk_bytes, Path(options.path), context.cells_key)
    states = ParkedStates(options.n_parked_bytes, files)
    return Worker(context, states, options.n_context, llama.N_RESIDENTS, llama.N_BRANCHES), context


def serve(options: HostOptions, name: str) -> int:
    """Run the host named `name`; the exit code."""
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
