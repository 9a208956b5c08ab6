"""A host's life: it is found, shared, lost, started again, and ends when it has no clients."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import Cancellation, EngineError, EngineLostError, GenerationRequest, Sampling
from starcoder_lsp.engine.host import launch, wire
from starcoder_lsp.engine.host.address import Address, runtime_folder
from starcoder_lsp.engine.host.launch import HostProcess, join
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.server import FIRST_CLIENT_S
from tests.host.conftest import TEXT, Hosts

TRANSPORTS = ["socket", "port"]


async def ended(process_id: int) -> None:
    """Wait until a process has ended and is no zombie."""
    while True:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engines_that_start_at_once_share_one_host(hosts: Hosts, transport: str) -> None:
    engines = [hosts.engine(transport=transport) for _ in range(4)]
    await asyncio.gather(*(engine.start() for engine in engines))
    assert len({engine.host_process_id for engine in engines}) == 1
    answers = await asyncio.gather(*(hosts.run_request(engine) for engine in engines))
    assert len({answer.written[0].text for answer in answers}) == 1
    process_id = engines[0].host_process_id
    assert process_id is not None
    for engine in engines:
        await engine.close()
    await ended(process_id)
    assert list((hosts.folder / "starcoder-lsp").iterdir()) == []


async def test_other_settings_and_unshared_engines_get_their_own_hosts(hosts: Hosts) -> None:
    shared, own, other = hosts.engine(), hosts.engine(is_shared=False), hosts.engine(n_parked_bytes=1)
    await asyncio.gather(shared.start(), own.start(), other.start())
    ids = {engine.host_process_id for engine in (shared, own, other)}
    assert len(ids) == 3
    process_id = own.host_process_id
    await own.close()
    await asyncio.wait_for(ended(process_id or 0), 2)
    assert (await hosts.run_request(shared)).written[0].text


async def test_the_files_of_a_host_are_accessible_by_the_user_only(hosts: Hosts) -> None:
    await hosts.started()
    await hosts.started(transport="port", n_parked_bytes=1)
    folder = runtime_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_a_folder_that_others_can_read_is_refused(hosts: Hosts) -> None:
    runtime_folder().chmod(0o755)
    with pytest.raises(EngineError, match="yours alone"):
        await hosts.started()


async def test_a_client_without_the_secret_is_refused(hosts: Hosts) -> None:
    engine = await hosts.started(transport="port")
    address = Address.of(engine.options.key, "port")
    reader, writer, secret = await address.connect()
    wrong = ("0" if secret[0] != "0" else "1") + secret[1:]
    writer.write(wire.framed(wire.Hello(engine.options.key, wrong, os.getpid(), "stranger")))
    assert isinstance(await wire.read_from_host(reader), wire.Refused)
    assert await wire.read_from_host(reader) is None
    assert (await hosts.run_request(engine)).written[0].text


async def test_another_version_or_other_settings_are_refused(hosts: Hosts) -> None:
    engine = await hosts.started()
    address = Address.of(engine.options.key, "socket")
    with pytest.raises(EngineError, match="version"):
        await join(evolve(engine.options, n_parked_bytes=1), address, "other")


GARBAGE = [
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    struct.pack(">I", 3) + b"\x93\xa1",
    wire.framed(wire.Cached(1)),
    wire.framed(wire.Generate(1, "d", [1], 1, is_ahead=False)),
]


@pytest.mark.parametrize("after_hello", [False, True])
async def test_bytes_that_are_no_message_end_their_connection_only(hosts: Hosts, *, after_hello: bool) -> None:
    engine = await hosts.started()
    process_id = engine.host_process_id
    for data in GARBAGE:
        reader, writer, _ = await Address.of(engine.options.key, "socket").connect()
        if after_hello:
            writer.write(wire.framed(wire.Hello(engine.options.key, "", os.getpid(), "odd")))
        writer.write(data)
        writer.write_eof()
        while await wire.read_from_host(reader) is not None:
            pass
        assert (await hosts.run_request(engine)).written[0].text, data
        assert len((await engine.status())["clients"]) == 1, data
        assert engine.host_process_id == process_id, data


async def test_an_invalid_prompt_is_refused_and_the_host_goes_on(hosts: Hosts) -> None:
    engine = await hosts.started()
    process_id = engine.host_process_id
    for invalid in ((), (10**6,), (5,) * 5000):  # empty, out of range, too long
        prompt = evolve(hosts.prompt(), ids=invalid)
        with pytest.raises(EngineError, match=r"no room|not among"):
            await hosts.run_request(engine, prompt=prompt)
        assert (await hosts.run_request(engine)).written[0].text, invalid[:1]
    assert engine.host_process_id == process_id


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_host_that_dies_is_started_again(hosts: Hosts, how: signal.Signals) -> None:
    engine = await hosts.started()
    before = await hosts.run_request(engine)
    for _ in range(3):
        old = engine.host_process_id
        assert old is not None
        os.kill(old, how)
        await hosts.wait_for_loss()
        again = await hosts.run_request(engine)
        assert again.written[0].text == before.written[0].text
        assert engine.host_process_id != old
    assert hosts.states[-2:] == ["loading", ""]


async def test_a_crash_loses_its_request_and_the_next_one_is_answered(hosts: Hosts, crash: Callable[..., None]) -> None:
    (poison,) = hosts.prompts.tokenizer.encode(b"\x07")
    crash(f"decoding={poison}", "SIGSEGV")
    engine = await hosts.started()
    assert (await hosts.run_request(engine)).written[0].text
    for _ in range(2):
        with pytest.raises(EngineLostError, match="SIGSEGV"):
            await hosts.run_request(engine, TEXT + b"\x07")
        assert (await hosts.run_request(engine)).written[0].text
    n_starts = hosts.n_starts
    with pytest.raises(EngineError, match="twice"):
        await hosts.run_request(engine, TEXT + b"\x07")
    assert (await hosts.run_request(engine)).written[0].text
    assert hosts.n_starts == n_starts, "it was not sent a third time"


async def test_three_crashes_in_a_row_lead_one_rung_down(hosts: Hosts, crash: Callable[..., None]) -> None:
    (poison,) = hosts.prompts.tokenizer.encode(b"\x07")
    crash(f"decoding={poison}", "SIGSEGV", 1)
    engine = await hosts.started()
    for number in range(3):
        with pytest.raises(EngineLostError):
            await hosts.run_request(engine, TEXT + b"%d\x07" % number)
        while hosts.states[-1]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        left = engine.generate(GenerationRequest("other", hosts.prompt(TEXT * 60), 8, 60_000))
        left.close()  # this is no answer
        assert not (await left.ended()).is_complete
    assert (await hosts.run_request(engine, TEXT + b"\x07")).written[0].text
    assert engine.caution == 1
    assert len(hosts.messages) == 1


async def test_all_requests_to_a_host_that_dies_end(hosts: Hosts) -> None:
    engine = await hosts.started()
    host = engine.host_process_id
    assert host is not None
    os.kill(host, signal.SIGSTOP)
    waiting = [asyncio.ensure_future(each) for each in (engine.cached(), engine.forget(), hosts.run_request(engine))]
    ahead = asyncio.ensure_future(engine.prefill("doc", hosts.prompt(TEXT * 3), Cancellation()))
    await asyncio.sleep(0)
    os.kill(host, signal.SIGKILL)
    assert await waiting[0] == []
    assert await waiting[1] is None
    for lost in (waiting[2], ahead):
        with pytest.raises(EngineLostError):
            await lost


async def test_a_host_that_does_not_answer_is_an_error_after_a_time_limit(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await hosts.started()
    host = engine.host_process_id or 0
    monkeypatch.setattr(launch, "WELCOME_S", 0.2)
    os.kill(host, signal.SIGSTOP)
    try:
        assert await engine.cached() == []
        with pytest.raises(EngineError, match="does not answer"):
            await hosts.started()
    finally:
        os.kill(host, signal.SIGCONT)
    assert (await hosts.run_request(engine)).written[0].text


@pytest.mark.parametrize("temperature", [math.nan, -1.0, math.inf])
async def test_an_invalid_temperature_ends_the_connection_of_its_client_only(hosts: Hosts, temperature: float) -> None:
    one, other = await hosts.started(), await hosts.started()
    with pytest.raises(EngineLostError):
        await hosts.run_request(one, sampling=Sampling(temperature))
    assert (await hosts.run_request(other)).written[0].text


async def test_a_host_ends_after_its_last_client_was_killed(hosts: Hosts) -> None:
    """Whatever ends a client, its connection ends, and a host without clients ends."""
    engine = await hosts.started()
    host = engine.host_process_id
    assert host is not None
    request = GenerationRequest("doc", hosts.prompt(TEXT * 20), 500, 60_000)
    stream = engine.generate(request)
    async for _tokens in stream:
        break
    assert engine._supervisor.connection is not None
    engine._supervisor.is_closing = True
    engine._supervisor.connection.writer.transport.abort()
    await asyncio.wait_for(ended(host), 10)
    assert list((hosts.folder / "starcoder-lsp").iterdir()) == []


async def test_documents_of_two_clients_with_the_same_name_are_distinct(hosts: Hosts) -> None:
    one, other = await hosts.started(), await hosts.started()
    assert one.host_process_id == other.host_process_id
    await hosts.run_request(one, TEXT)
    await hosts.run_request(other, b"x = 1\n" * 30)
    assert [(each.document, each.where) for each in await one.cached()] == [("doc", "device")]
    await one.forget()
    assert await one.cached() == []
    assert len(await other.cached()) == 1
    assert (await hosts.run_request(other, b"x = 1\n" * 30)).n_evaluated == 0


async def test_tokens_that_another_client_evaluated_are_reused(hosts: Hosts) -> None:
    one, other = await hosts.started(), await hosts.started()
    text = b"".join(b"value_%d = compute(%d)\n" % (i, i) for i in range(60))
    first = await hosts.run_request(one, text)
    assert (await hosts.run_request(other, text)).n_evaluated < first.n_evaluated / 10


async def test_a_restart_starts_another_host_unless_other_clients_use_it(hosts: Hosts) -> None:
    one = await hosts.started(idle_s=60.0)
    first = one.host_process_id
    await one.close(is_restart=True)
    two, other = await hosts.started(idle_s=60.0), await hosts.started(idle_s=60.0)
    assert first != two.host_process_id == other.host_process_id
    await two.close(is_restart=True)
    three = await hosts.started(idle_s=60.0)
    assert three.host_process_id == other.host_process_id
    last = other.host_process_id
    await three.close()
    while len((await other.status())["clients"]) > 1:
        pass
    await other.close(is_restart=True)
    await ended(last or 0)


async def test_a_host_that_cannot_load_ends_so_that_the_next_start_tries_again(hosts: Hosts) -> None:
    adapter = hosts.folder / "adapter.gguf"
    adapter.write_bytes(b"no adapter")
    for n_starts in (1, 2):
        engines = [hosts.engine(idle_s=3600.0, lora_path=str(adapter)) for _ in range(2)]
        errors = await asyncio.gather(*(engine.start() for engine in engines), return_exceptions=True)
        assert all("adapter" in str(error) for error in errors)
        async with asyncio.timeout(30):
            while hosts.alive():  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert hosts.n_starts == n_starts


async def test_files_of_killed_hosts_are_removed_by_the_next_host(hosts: Hosts) -> None:
    engine = await hosts.started(n_parked_bytes=1)
    host = engine.host_process_id
    engine._supervisor.is_closing = True
    os.kill(host or 0, signal.SIGKILL)
    await ended(host or 0)
    assert len(list(runtime_folder().glob("*.sock"))) == 1
    other = await hosts.started()
    assert [path.stem for path in runtime_folder().glob("*.sock")] == [other.options.key]


STAGES = ["", "listening", "importing", "loading", "warming up", "ready"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_starting_host_ends_when_its_client_gives_up(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    started: list[HostProcess] = []
    start_process = HostProcess.start

    def start(options: HostOptions, address: Address) -> HostProcess:
        started.append(start_process(options, address))
        return started[-1]

    monkeypatch.setattr(HostProcess, "start", start)
    engine = hosts.engine(is_shared=False)
    starting = asyncio.ensure_future(engine.start())
    # A thread writes the stage, and it may advance by two between two checks.
    while not started or STAGES.index(started[0].stage) < STAGES.index(stage):  # noqa: ASYNC110
        await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    await engine.close()
    await asyncio.wait_for(ended(started[0].process.pid), 10)
    assert list((hosts.folder / "starcoder-lsp").iterdir()) == []


async def test_a_host_whose_client_has_ended_ends_at_once(hosts: Hosts) -> None:
    options = hosts.engine(idle_s=3600.0).options
    runtime_folder()
    command = [sys.executable, "-m", "starcoder_lsp", "host", options.key, options.to_json().decode()]
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=asyncio.subprocess.DEVNULL)
    os.close(writing)
    assert await asyncio.wait_for(process.wait(), FIRST_CLIENT_S / 2) == 0
    assert list((hosts.folder / "starcoder-lsp").iterdir()) == []
