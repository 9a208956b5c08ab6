"""The lines of `doctor`'s report, each from facts that are made up in one place."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from filelock import FileLock

from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING, Check
from starcoder_lsp.cli.doctor.command import start_loading
from starcoder_lsp.cli.doctor.editors import check_editors, check_path
from starcoder_lsp.cli.doctor.environment import check_folders, check_hosts
from starcoder_lsp.cli.doctor.facts import Facts, Library, Memory, Places, RunningHost, Speed
from starcoder_lsp.cli.doctor.gather import _find_hosts, cpu_flags, gather, library_of, read_memory
from starcoder_lsp.cli.doctor.installation import check_crashes, check_gpu, check_library, check_programs
from starcoder_lsp.cli.doctor.model import check_memory, check_speed
from starcoder_lsp.cli.doctor.report import _lines, examine
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import Address, is_alive
from starcoder_lsp.engine.host.ladder import Caution, LadderFile
from starcoder_lsp.engine.host.launch import HostConnection, HostProcess, inquire, join
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.engine.synthetic_header import (
    SHAPES,
)
from starcoder_lsp.settings import CacheSettings, ContextSettings, HostSettings, ModelSettings, Settings

MIB, GIB = 1024**2, 1024**3
BUILD = (
    "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | BMI2 = 1 | LLAMAFILE = 1 | REPACK = 1 | "
)
ITS_CPU = frozenset(["fpu", "pni", "ssse3", "avx", "avx2", "f16c", "fma", "bmi2"])


@pytest.fixture(scope="module")
def own_folder() -> Iterator[Path]:
    """A home with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="slsp-") as name, pytest.MonkeyPatch.context() as patch:
        for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(variable, name)
        yield Path(name)


@pytest.fixture(scope="module")
def facts(own_folder: Path) -> Facts:
    """Everything is fine."""
    found = gather(start_loading(), None, Places(home=own_folder))
    library = Library("0.3.36", Path("/lib"), (), BUILD)
    return evolve(found, library=library, cpu_flags=ITS_CPU, has_nvidia_gpu=False, memory=Memory(16 * GIB, 8 * GIB))


def one(lines: Iterator[Check], name: str) -> Check:
    (check,) = [line for line in lines if line.name == name]
    return check


def test_nothing_is_an_error_where_all_is_fine(facts: Facts) -> None:
    lines = examine(facts)
    assert {line.state for line in lines} == {OK, WARNING}
    assert all(line.advice for line in lines if line.state != OK)
    assert one(iter(lines), "model").state == WARNING  # it is the demonstrator


# llama.cpp and the CPU


@pytest.mark.parametrize(
    ("system_info", "flags", "state", "words"),
    [
        (BUILD, ITS_CPU, OK, "built for SSE3 SSSE3 AVX AVX2 F16C FMA BMI2, and this CPU has it"),
        (BUILD, ITS_CPU | {"avx512f", "amx_int8"}, OK, "besides is not used: AVX512 AMX_INT8"),
        (BUILD + "AVX512 = 1 | AMX_INT8 = 1 | ", ITS_CPU, ERROR, "for AVX512 AMX_INT8, which this CPU does not have"),
        (BUILD, ITS_CPU - {"bmi2"}, ERROR, "built for BMI2"),
        (BUILD.replace("AVX2 = 1 | F16C = 1 | FMA = 1 | ", ""), ITS_CPU, WARNING, "without AVX2 F16C FMA"),
        (BUILD, frozenset(), OK, "does not tell"),
        ("CUDA : ARCHS = 890 | CPU : NEON = 1 | SVE = 0 | SVE_CNT = 16 | ", {"asimd"}, OK, "built for NEON, and"),
        ("CPU : NEON = 1 | DOTPROD = 1 | ", {"asimd"}, ERROR, "built for DOTPROD"),
    ],
)
def test_what_llama_cpp_was_built_for(facts: Facts, system_info: str, flags: Any, state: str, words: str) -> None:
    library = evolve(facts.library, system_info=system_info)
    check = one(check_library(evolve(facts, library=library, cpu_flags=frozenset(flags))), "CPU")
    assert check.state == state
    assert words in check.found
    assert (state == OK) != check.advice.endswith(f"\n{rebuild_command()}")


def child(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import os, signal, time\n{code}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12: cannot open"),
        ("print('[1, 2]')", "code 0"),
        ("raise SystemExit(3)", "code 3"),
        ("time.sleep(60)", "not loaded after 1 s"),
    ],
)
def test_a_library_that_cannot_be_loaded(facts: Facts, code: str, words: str) -> None:
    library = library_of(child(code), 1 if "sleep" in code else 30)
    check = one(check_library(evolve(facts, library=library)), "llama.cpp")
    assert check.state == ERROR
    assert words in check.found
    assert rebuild_command() in check.advice


def test_a_library_that_says_more_than_it_was_asked() -> None:
    library = library_of(child("""print('found 1 device\\n{"systemInfo": "CPU : NEON = 1", "canOffload": true}')"""))
    assert (library.failure, library.system_info, library.can_offload) == ("", "CPU : NEON = 1", True)


@pytest.mark.parametrize(("version", "state"), [("0.3.36", OK), ("0.3.9", WARNING), ("", ERROR)])
def test_another_version_of_the_library(facts: Facts, version: str, state: str) -> None:
    changed = evolve(facts, library=evolve(facts.library, version=version))
    assert one(check_programs(changed), "llama-cpp-python").state == state


def test_flags_and_memory_as_linux_tells_them(tmp_path: Path) -> None:
    file = tmp_path / "told"
    file.write_text("processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: fp\n")
    assert cpu_flags(file) == {"fp", "asimd"}
    file.write_text("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    500 kB\n")
    assert read_memory(file) == Memory(1000 * 1024, 500 * 1024)
    for nonsense in ("", "MemTotal: many kB\n", "MemAvailable:\nMemTotal: 1 kB\n"):
        file.write_text(nonsense)
        assert read_memory(file) is None
    assert (cpu_flags(tmp_path / "none"), read_memory(tmp_path / "none")) == (frozenset(), None)


# The GPU


@pytest.mark.parametrize(
    ("backends", "offloads", "layers", "has_nvidia", "state", "words"),
    [
        ((), False, -1, False, OK, "without GPU support"),
        ((), False, -1, True, WARNING, "built without CUDA"),
        (("vulkan",), True, -1, True, OK, "(VULKAN): it gets the whole model"),
        (("cuda",), False, -1, True, WARNING, "built for one (CUDA) and finds none"),
        (("cuda",), True, -1, True, OK, "it gets the whole model"),
        (("cuda",), True, 0, True, OK, "none of the model, as model.gpuLayers is 0"),
        ((), True, 7, False, OK, "7 layers"),
    ],
)
def test_the_gpu(
    facts: Facts,
    backends: tuple[str, ...],
    layers: int,
    state: str,
    words: str,
    *,
    offloads: bool,
    has_nvidia: bool,
) -> None:
    library = evolve(facts.library, gpu_backends=backends, can_offload=offloads)
    settings = Settings(model=ModelSettings(gpu_layers=layers))
    changed = evolve(facts, library=library, settings=settings, has_nvidia_gpu=has_nvidia)
    (check,) = check_gpu(changed)
    assert check.state == state
    assert words in check.found
    if "without CUDA" in words:
        assert "-DGGML_CUDA=on" in check.advice.splitlines()[-1]


# Memory


def of_size(facts: Facts, n_weights: int, n_available: int, n_total: int, *, n_context: int = 4096) -> Facts:
    """StarCoder2 3B's shape with the demonstrator's vocabulary."""
    assert facts.model is not None
    model = evolve(facts.model, n_bytes=n_weights, n_layers=30, n_kv_heads=2, n_head_embd=128)
    return evolve(
        facts,
        model=model,
        prompts=evolve(facts.prompts, n_context=n_context),
        memory=Memory(n_total, n_available),
        settings=Settings(cache=CacheSettings(ram_mib=512)),
    )


def test_the_cells_of_a_token() -> None:
    assert check_model_file(DEMONSTRATOR).n_kv_bytes > 0
    shape = SHAPES["3b"]
    model = evolve(check_model_file(DEMONSTRATOR), n_layers=30, n_kv_heads=2, n_head_embd=128)
    assert model.n_kv_bytes == shape.n_kv_bytes == 30 * 1024


@pytest.mark.parametrize(
    ("n_available", "n_total", "state", "advice"),
    [
        (8 * GIB, 16 * GIB, OK, ""),
        (2700 * MIB, 8 * GIB, OK, ""),  # 1,700 of weights, 240 of cells, 512 parked, 200 besides: 2,652
        (2600 * MIB, 8 * GIB, WARNING, "set cache.ramMiB to 460 in"),
        (2100 * MIB, 8 * GIB, WARNING, "cache.ramMiB to 0 and model.contextLength to 3328"),
        (1000 * MIB, 8 * GIB, WARNING, "smaller model"),
        (1000 * MIB, 2 * GIB, ERROR, "smaller model"),
    ],
)
def test_memory(facts: Facts, n_available: int, n_total: int, state: str, advice: str) -> None:
    (check,) = check_memory(of_size(facts, 1700 * MIB, n_available, n_total))
    assert check.state == state, check
    assert "2.6 GiB (1.7 GiB of weights, 240 MiB for 8,192 tokens, 512 MiB for parked documents" in check.found
    assert advice in check.advice


def test_the_advice_about_memory_helps(facts: Facts) -> None:
    tight = of_size(facts, 1700 * MIB, 2100 * MIB, 8 * GIB)
    settings = evolve(tight.settings, cache=CacheSettings(ram_mib=0))
    helped = evolve(tight, settings=settings, prompts=evolve(tight.prompts, n_context=3328))
    assert [check.state for check in check_memory(helped)] == [OK]


def test_memory_where_it_is_not_needed(facts: Facts) -> None:
    tight = of_size(facts, 1700 * MIB, 1000 * MIB, 2000 * MIB)
    on_gpu = evolve(tight, library=evolve(tight.library, can_offload=True))
    unknown = evolve(tight, memory=None)
    assert tight.model is not None
    loaded = evolve(tight, hosts=(RunningHost(HostOptions.of(tight.settings, tight.model).key),))
    for changed in (on_gpu, unknown, loaded):
        assert [check.state for check in check_memory(changed)] == [OK]
    own = evolve(loaded, settings=evolve(tight.settings, host=HostSettings(shared=False)))
    (check,) = check_memory(own)
    assert check.state == ERROR
    assert "120 MiB for 4,096 tokens" in check.found


# Speed


@pytest.mark.parametrize(
    ("prefill", "decode", "states"),
    [(70, 16, [OK, OK]), (20, 8, [WARNING, OK]), (70, 2, [OK, WARNING]), (5000, 900, [OK, OK])],
)
def test_speed(facts: Facts, prefill: float, decode: float, states: list[str]) -> None:
    measured = evolve(facts, speed=Speed(prefill, decode, 1.0, 0))
    lines = list(check_speed(measured))
    assert [one(iter(lines), "prompt").state, one(iter(lines), "speed").state] == states
    if prefill == 20:
        assert "80 of 1,920 tokens" in one(iter(lines), "prompt").found
        patient = evolve(measured, settings=Settings(context=ContextSettings(max_prefill_ms=6400)))
        assert one(check_speed(patient), "prompt").state == OK
        assert "6,400 ms" in one(iter(lines), "prompt").advice


def test_a_crash_while_the_speed_is_measured(facts: Facts) -> None:
    (failed,) = check_speed(evolve(facts, speed_problem="the process of the model ended"))
    assert (failed.state, failed.found) == (ERROR, "the process of the model ended")
    what = "llama.cpp crashed. It may be built for another CPU"
    (failed,) = check_speed(evolve(facts, speed_problem=f"{what}; build it anew: {rebuild_command()}"))
    assert (failed.state, failed.found) == (ERROR, what)
    assert failed.advice.splitlines()[-1] == rebuild_command()
    slower = evolve(facts, speed=Speed(70, 16, 1.0, 0, ("It runs more carefully now",)))
    assert [check.state for check in check_speed(slower)] == [WARNING, OK, OK]


# Crashes


def test_what_is_remembered_of_crashes_and_forgotten(tmp_path: Path) -> None:
    ladder = LadderFile(tmp_path / "state" / "ladder.json")
    assert ladder.forget(["starcoder2"]) == 0
    assert not ladder.path.exists()
    ladder.remember("starcoder", Caution.PLAIN_WEIGHTS, crash={"how": "SIGSEGV"})
    ladder.remember("starcoder2", Caution.MINIMAL, crash={"how": "SIGSEGV"})
    at = ladder.entry("starcoder2")["crash"]["at"]
    assert abs(time.time() - datetime.fromisoformat(at).timestamp()) < 60
    assert ladder.forget(["starcoder2", "unknown"]) == 1
    assert ladder.entry("starcoder2") == {}
    assert ladder.caution("starcoder") == Caution.PLAIN_WEIGHTS


@pytest.mark.parametrize("crash", [{}, {"at": "2026-01-02", "stage": "warming up", "how": "x", "words": "GGML"}])
def test_an_entry_of_an_earlier_version(facts: Facts, crash: dict[str, str]) -> None:
    entry = {"caution": 1, "kind": "starcoder2", "crash": crash}
    (check,) = check_crashes(evolve(facts, crashes=(entry,)))
    assert check.state == WARNING
    assert "AMX, repacking" in check.found
    assert check.advice.endswith("\nstarcoder-lsp doctor --forget-crashes")


# Hosts


@pytest.fixture
def runtime(own_folder: Path) -> Path:
    """An empty folder for sockets."""
    folder = own_folder / "starcoder-lsp"
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def test_a_host_that_does_not_answer(facts: Facts, runtime: Path) -> None:
    with FileLock(runtime / "mute.lock"), socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(runtime / "mute.sock"))
        mute.listen()
        hosts, gone, problem = _find_hosts()
    assert (gone, problem) == ({}, "")
    (check,) = check_hosts(evolve(facts, hosts=hosts))
    assert check.state == WARNING
    assert "does not answer within" in check.found
    assert "starcoder_lsp host mute" in check.advice


async def test_asking_a_host_changes_nothing_there(runtime: Path) -> None:
    model = check_model_file(DEMONSTRATOR)
    options = HostOptions.of(Settings(host=HostSettings(shared=False)), model)
    address = Address.of("one-of-its-own", "auto")
    process = HostProcess.start(options, address)
    try:
        assert await process.listens()
        for _ in range(3):
            status = await inquire(Address.known(runtime, "one-of-its-own"))
            assert status["clients"] == []
        host = await join(options, address, "a client")
        assert isinstance(host, HostConnection)
        status = await inquire(address)
        assert [client["name"] for client in status["clients"]] == ["a client"]
        assert status["state"] in {"loading", "ready"}
        host.close()
        await process.exit_code()
        assert not is_alive(runtime, "one-of-its-own")
    finally:
        process.process.kill()


async def test_who_asked_is_told_no_more(runtime: Path) -> None:
    settings = Settings(host=HostSettings(shared=False, transport="port"))
    options = HostOptions.of(settings, check_model_file(DEMONSTRATOR))
    address = Address.of("talkative", "port")
    process = HostProcess.start(options, address)
    try:
        assert await process.listens()
        assert (await inquire(Address.known(runtime, "talkative")))["processId"] == process.process.pid
        reader, writer, _ = await address.connect()
        writer.write(wire.framed(wire.Inquiry("not the secret")) + wire.framed(wire.Status(1)))
        assert isinstance(await wire.read_from_host(reader), wire.Refused)
        assert await wire.read_from_host(reader) is None
        reader, writer, secret = await address.connect()
        writer.write(wire.framed(wire.Inquiry(secret)) + wire.framed(wire.Score(1, [0], b"", [0])))
        assert isinstance(await wire.read_from_host(reader), wire.Done)
        assert await wire.read_from_host(reader) is None
    finally:
        process.process.kill()
        await asyncio.sleep(0)


def test_a_host_of_another_version(facts: Facts) -> None:
    told = RunningHost("x", {"version": "0.0.9", "processId": 7, "clients": None})
    (check,) = check_hosts(evolve(facts, hosts=(told,)))
    assert check.state == WARNING
    assert "0.0.9" in check.found


def test_what_may_not_be_looked_at_is_a_line(facts: Facts) -> None:
    def check_something(_facts: Facts) -> Iterator[Check]:
        yield Check("first", OK, "seen")
        raise PermissionError(13, "Permission denied", "/some/folder")

    first, second = _lines(check_something, facts)
    assert first.name == "first"
    assert (second.name, second.state) == ("something", WARNING)
    assert "/some/folder" in second.found


# Editors and the path


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


HELIX = """
[language-server.starcoder]
command = "{command}"
[[language]]
name = "rust"
language-servers = ["rust-analyzer", "starcoder"]
[[language]]
name = "go"
language-servers = [{{ name = "starcoder", only-features = ["completion"] }}]
"""
SETTING_UP: list[tuple[str, Callable[[Path], None]]] = [
    ("Neovim", lambda home: written(home / ".config/nvim/lua/plugins/ai.lua", "vim.g.starcoder = {}")),
    ("Helix", lambda home: written(home / ".config/helix/languages.toml", HELIX.format(command=sys.executable))),
    ("Emacs", lambda home: written(home / ".emacs", '(load "~/starcoder-lsp/editor-configs/emacs/starcoder.el")')),
    ("VS Code", lambda home: written(home / ".vscode/extensions/starcoder-lsp.starcoder-lsp-0.1.0/package.json", "{}")),
    ("VSCodium", lambda home: written(home / ".vscode-oss/extensions/starcoder-lsp.starcoder-lsp/package.json", "{}")),
    ("code-server", lambda home: written(home / ".local/share/code-server/extensions/x.starcoder-lsp/p.json", "{}")),
]


@pytest.mark.parametrize(("editor", "set_up"), SETTING_UP)
def test_editors(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str, set_up: Callable[[Path], None]
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    there = evolve(facts, places=Places(home=tmp_path))
    assert one(check_editors(there), "editors").state == WARNING
    written(tmp_path / ".config/nvim/init.lua", "-- nothing")
    set_up(tmp_path)
    lines = list(check_editors(there))
    assert one(iter(lines), editor).found.startswith("set up")
    others = {line.name for line in lines if line.found == "not set up"}
    assert others == {"Neovim", "Helix", "Emacs", "VS Code"} - {editor}
    assert not any(line.name == "editors" for line in lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[language-server.starcoder", "cannot be understood"),
        ('language-server = "starcoder"', "cannot be understood"),
        ('[language-server.starcoder]\ncommand = "no-such-program"', "no-such-program"),
        (f'[language-server.starcoder]\ncommand = "{sys.executable}"', "no language that uses it"),
    ],
)
def test_a_helix_that_will_not_do(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    written(tmp_path / ".config/helix/languages.toml", text)
    check = one(check_editors(evolve(facts, places=Places(home=tmp_path))), "Helix")
    assert check.state == WARNING
    assert words in check.found


def test_the_program_on_the_path(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[str, bool]:
        (check,) = check_path(facts)
        return check.state, "another one" in check.found

    monkeypatch.setenv("PATH", str(tmp_path))
    assert found() == (WARNING, False)
    script = tmp_path / "starcoder-lsp"
    written(script, "#!/bin/sh\nexec something\n")
    script.chmod(0o755)
    assert found() == (WARNING, True)
    written(script, f"#!{sys.executable}\nimport sys\n")
    assert found() == (OK, False)
    script.unlink()
    own = Path(sys.executable).parent / "starcoder-lsp"
    script.symlink_to(own)  # as pipx does
    if own.exists():
        assert found() == (OK, False)


# Folders


def test_folders_that_others_may_use(facts: Facts, tmp_path: Path) -> None:
    cache, state = tmp_path / "it's a cache", tmp_path / "state"
    written(cache / "states" / "a.kv", "x" * 3 * MIB)
    state.mkdir()
    (cache / "states").chmod(0o755)
    state.chmod(0o722)
    lines = list(check_folders(evolve(facts, cache_path=cache, state_path=state)))
    assert "3 MiB" in one(iter(lines), "cache folder").found
    for name, folder in (("states on disk", cache / "states"), ("state folder", state)):
        check = one(iter(lines), name)
        assert check.state == WARNING
        subprocess.run(["/bin/sh", "-c", check.advice.splitlines()[-1]], check=True)  # noqa: S603
        assert folder.stat().st_mode & 0o077 == 0
    lines = list(check_folders(evolve(facts, cache_path=cache, state_path=state)))
    assert {one(iter(lines), name).state for name in ("cache folder", "states on disk", "state folder")} == {OK}


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(facts: Facts, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    check = one(check_folders(evolve(facts, state_path=tmp_path)), "state folder")
    tmp_path.chmod(0o700)
    assert check.state == WARNING
    assert "cannot be written to" in check.found
