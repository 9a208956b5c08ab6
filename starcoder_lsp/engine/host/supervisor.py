"""Keep a host running: find or start one, and start it again when it dies, more carefully after crashes."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Protocol

from attrs import define, evolve, field

from starcoder_lsp.engine.engine import EngineError, EngineLostError
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import Address
from starcoder_lsp.engine.host.early import EARLY, HostRecord, own_name
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution, LadderFile, careful, is_crash, next_rung
from starcoder_lsp.engine.host.launch import (
    LIBRARY_STAGES,
    HostConnection,
    HostProcess,
    how_it_ended,
    join_or_start,
    last_words,
)
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.rebuild import rebuild_command

MAX_FIRST_STARTS = 4
"""Starts in a row that may end before the model is first loaded; crashes, which the ladder answers, are not among them.
Not measured."""
PAUSES_S = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the next start, by the number of deaths in a row; the last one repeats. Without a pause it is 0.94 s
(p50) and 2.62 s (p95) from a kill to the next reply (`bench/kills.py --kills 1000`). Later pauses are not measured."""
N_CRASHES_A_RUNG = 3
"""Crashes in a row after which a loaded model runs more carefully. Not measured."""
N_KILLS_A_DEATH = 10
"""Kills from outside that lengthen the pause as one other death does. Not measured."""
EXIT_CODES_FROM_OUTSIDE = {-9, -15, 0}
"""SIGKILL, SIGTERM, and the orderly end with which a host answers SIGTERM: no prompt causes these."""


class Events(Protocol):
    """The supervisor's reports."""

    def on_ready(self, message: wire.Ready) -> None:
        """Handle that a host has loaded the model: requests can be sent."""

    def on_wire_message(self, message: wire.ToClient) -> None:
        """Handle a message of a ready host."""

    def on_death(self, error: EngineError, *, is_from_outside: bool) -> None:
        """Handle that the ready host died; another one is started."""

    def on_restarted(self) -> None:
        """Handle that a host is ready again after a death."""

    def on_failure(self, error: EngineError) -> None:
        """Handle that no further host is started."""

    def on_progress(self, share: float) -> None:
        """Handle the share of the model that is loaded, 0 to 1."""

    def on_message(self, text: str) -> None:
        """Handle a message for the user: a feature was turned off."""


@define(eq=False)
class Supervisor:
    """One host at a time. `kind` names the model's architecture for the ladder. On the event loop."""

    options: HostOptions
    kind: str
    client: str
    ladder: LadderFile
    events: Events
    caution: Caution = Caution.FULL
    connection: HostConnection | None = None
    is_closing: bool = False
    _is_ready: bool = False
    _address: Address = field(init=False)
    _n_deaths: int = 0
    """Deaths since the last answer."""
    _n_crashes: int = 0
    """Crashes since the last answer, or since the last step down the ladder."""
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Wait until the model is loaded, and then watch the host in a task. Raises `EngineError`."""
        self.caution = self.ladder.caution(self.kind)
        self._address = self._settled()
        connection = await self._load(MAX_FIRST_STARTS)
        self._task = asyncio.ensure_future(self._watch(connection))

    def _settled(self) -> Address:
        """Return the address of the host: of the one that was started early, if it is the right one."""
        key = self.options.key
        address = Address.of(key if self.options.is_shared else own_name(key), self.options.transport)
        return evolve(address, name=EARLY.settle(self._record(address)) or address.name)

    def _record(self, address: Address) -> HostRecord:
        """Return the record of the host as it is started now."""
        options = careful(self.options, self.caution)
        paths = [path for path in (options.path, options.lora_path) if path]
        return HostRecord.of(
            self.options.key, options.to_json().decode(), address.folder, paths, is_shared=options.is_shared
        )

    async def close(self, *, is_restart: bool) -> None:
        """Leave the host, and wait for the end of one of this server's own.

        With `is_restart` a shared one ends too, unless another client uses it.
        """
        if is_restart:
            self.send(wire.End())
        self.is_closing, self._is_ready = True, False
        connection = self.connection
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if connection is not None:
            if is_restart:
                await connection.ended()
            connection.close()
            if not self.options.is_shared and connection.process is not None:
                await connection.process.exit_code()

    def send(self, message: wire.ToHost) -> bool:
        """Send a message; return false if no host is ready."""
        if not self._is_ready or self.connection is None:
            return False
        self.connection.send(message)
        return True

    def count_answer(self) -> None:
        """Forget earlier deaths: the host has answered."""
        self._n_deaths = self._n_crashes = 0

    async def _load(self, max_starts: float = math.inf) -> HostConnection:
        """Start hosts until one has loaded the model, each after a crash a rung lower. Raises `EngineError`."""
        n_starts, step_message = 0, ""
        while True:
            host = await join_or_start(careful(self.options, self.caution), self._address, self.client)
            if isinstance(host, HostConnection):
                self.connection = host
                if await self._wait_until_ready(host):
                    if step_message:
                        self.events.on_message(step_message)
                    return host
                host.close()
                self.connection = None
            process = host if isinstance(host, HostProcess) else host.process
            exit_code = await process.exit_code() if process is not None else None
            if process is not None and is_crash(exit_code):
                step_message = self._step_down(process.stage, exit_code)
                continue
            n_starts += 1
            if n_starts == max_starts:
                words, how = last_words(self._address), how_it_ended(exit_code)
                message = f"the process of the model ended while it was loaded, {n_starts} times: {how}"
                raise EngineError(message + (f" ({words})" if words else ""))
            self.caution = max(self.caution, self.ladder.caution(self.kind))  # another server may have seen a crash
            await asyncio.sleep(_pause_s(n_starts, exit_code))

    def _step_down(self, stage: str, exit_code: int | None) -> str:
        """Take the next rung after a crash; return the message about it. Raises `EngineError` below the last one."""
        how, words = how_it_ended(exit_code), last_words(self._address)
        what = f"llama.cpp crashed while it was {stage or 'being started'} ({how}{f': {words}' if words else ''})"
        rung = next_rung(self.caution, self.options)
        if stage in LIBRARY_STAGES or rung is None:
            message = f"{what}. It may be built for another CPU; rebuild it: {rebuild_command()}"
            raise EngineError(message)
        self.caution = rung
        self.ladder.remember(self.kind, rung, crash={"stage": stage, "how": how, "words": words})
        EARLY.settle(self._record(self._address))
        return f"{what}. It runs more carefully now: {WHAT_IT_COSTS[rung]}. `starcoder-lsp doctor` says more."

    async def _wait_until_ready(self, host: HostConnection) -> bool:
        """Wait for a host that loads; return false if it is gone. Raises `EngineError` if it cannot load the model."""
        while True:
            try:
                message = await wire.read_from_host(host.reader)
            except wire.WireError:
                return False
            match message:
                case wire.Loading(share):
                    self.events.on_progress(share)
                case wire.Failed(text):
                    host.close()
                    raise EngineError(text)
                case wire.Ready(caution=caution):
                    self.caution, self._is_ready = Caution(caution), True
                    self.events.on_ready(message)
                    return True
                case None | wire.Refused():
                    return False

    async def _watch(self, connection: HostConnection) -> None:
        """Pass on the host's messages, and start another host whenever one dies."""
        while not self.is_closing:
            await self._receive(connection)
            self._is_ready = False
            self.connection = None
            exit_code = await connection.process.exit_code() if connection.process is not None else None
            if self.is_closing:
                return
            self._n_deaths += 1
            self._n_crashes = self._n_crashes + 1 if is_crash(exit_code) else 0
            error = EngineLostError(f"the process of the model ended while it worked: {how_it_ended(exit_code)}")
            self.events.on_death(error, is_from_outside=exit_code in EXIT_CODES_FROM_OUTSIDE)
            try:
                if self._n_crashes == N_CRASHES_A_RUNG and next_rung(self.caution, self.options) is not None:
                    self.events.on_message(self._step_down("answering", exit_code))
                    self._n_crashes = 0
                await asyncio.sleep(_pause_s(self._n_deaths, exit_code))
                connection = await self._load()
            except EngineError as failure:
                self.events.on_failure(failure)
                return
            self.events.on_restarted()

    async def _receive(self, host: HostConnection) -> None:
        """Pass on messages until the host is gone."""
        while True:
            try:
                message = await wire.read_from_host(host.reader)
            except wire.WireError:
                message = None
            if message is None:
                host.close()
                return
            self.events.on_wire_message(message)


def _pause_s(n_deaths: int, exit_code: int | None) -> float:
    """Return the seconds before the next start. They grow more slowly if something outside ends the host."""
    n_pauses = n_deaths // N_KILLS_A_DEATH if exit_code in EXIT_CODES_FROM_OUTSIDE else n_deaths
    return PAUSES_S[max(0, min(n_pauses, len(PAUSES_S)) - 1)]
