"""After a crash during the load of a model, the next start is one rung lower, and the rung is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host import ladder
from starcoder_lsp.engine.host.ladder import Caution, LadderFile, is_crash
from tests.host.conftest import Hosts

Crash = Callable[..., None]


@pytest.mark.parametrize("stage", ["loading", "warming up"])
@pytest.mark.parametrize(("how", "rung"), [("SIGSEGV", 1), ("SIGILL", 2), ("SIGABRT", 3)])
async def test_a_crash_leads_to_the_first_rung_that_works_which_is_stored(
    hosts: Hosts, crash: Crash, stage: str, how: str, rung: int
) -> None:
    crash(stage, how, rung)
    engine = await hosts.started()
    assert engine.caution == rung
    assert hosts.n_starts == rung + 1
    (message,) = hosts.messages
    assert how in message
    assert stage in message
    assert ladder.WHAT_IT_COSTS[Caution(rung)] in message
    assert (await hosts.run_request(engine)).written[0].text
    await engine.close()
    again = await hosts.started(is_shared=False)
    assert (again.caution, hosts.n_starts) == (rung, rung + 2), "the second start does not crash first"
    assert len(hosts.messages) == 1


@pytest.mark.parametrize("stage", ["importing", "loading"])
async def test_if_every_rung_crashes_the_error_has_the_rebuild_command(hosts: Hosts, crash: Crash, stage: str) -> None:
    crash(stage, "SIGILL")
    with pytest.raises(EngineError, match=r"SIGILL.*--no-cache-dir"):
        await hosts.started()
    assert hosts.n_starts == (1 if stage == "importing" else len(Caution))
    assert hosts.alive() == []


@pytest.mark.parametrize("how", ["SIGKILL", "SIGUSR1"])
async def test_a_kill_does_not_count_as_a_crash(hosts: Hosts, crash: Crash, how: str) -> None:
    crash("loading", how)
    with pytest.raises(EngineError, match=how):
        await hosts.started()
    assert LadderFile().caution("starcoder2") == Caution.FULL


async def test_other_servers_learn_of_a_crash_by_the_stored_rung(hosts: Hosts, crash: Crash) -> None:
    crash("warming up", "SIGSEGV", 1)
    engines = [hosts.engine() for _ in range(3)]
    import asyncio

    await asyncio.gather(*(engine.start() for engine in engines))
    assert {engine.caution for engine in engines} == {Caution.PLAIN_WEIGHTS}
    assert len({engine.host_process_id for engine in engines}) == 1


def test_a_new_build_or_another_cpu_starts_at_the_first_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LadderFile(tmp_path / "deeper" / "ladder.json")
    file.remember("starcoder2", Caution.NO_GPU, crash={"how": "SIGSEGV"})
    assert file.caution("starcoder2") == Caution.NO_GPU
    assert file.caution("starcoder") == Caution.FULL
    for name in ("cpu", "build"):
        with monkeypatch.context() as patched:
            patched.setattr(ladder, name, lambda: "another")
            assert file.caution("starcoder2") == Caution.FULL
    assert file.caution("starcoder2") == Caution.NO_GPU


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"x": 1}', b"\xff", b"null"])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ladder.json"
    path.write_bytes(content)
    file = LadderFile(path)
    assert file.caution("starcoder2") == Caution.FULL
    file.remember("starcoder2", Caution.PLAIN_WEIGHTS, crash={})
    assert file.caution("starcoder2") == Caution.PLAIN_WEIGHTS


@pytest.mark.parametrize("value", [-1, 99, "x", None, [1]])
def test_an_invalid_rung_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    file = LadderFile(tmp_path / "ladder.json")
    monkeypatch.setattr(LadderFile, "_entries", lambda self: {self._key("starcoder2"): {"caution": value}})
    assert file.caution("starcoder2") == Caution.FULL


@pytest.mark.parametrize(
    ("code", "crashed"),
    [
        (-11, True),
        (-4, True),
        (-6, True),
        (-9, False),
        (-15, False),
        (0, False),
        (2, False),
        (None, False),
        (0xC0000005, True),
    ],
)
def test_exit_codes_that_count_as_crashes(code: int | None, *, crashed: bool) -> None:
    assert is_crash(code) == crashed
