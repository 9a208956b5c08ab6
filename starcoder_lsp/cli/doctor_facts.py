"""What `doctor` looks at, gathered once: files, a process that loads llama.cpp, and the hosts that run.

llama.cpp is loaded in a process of its own, which may die of it, while the rest is read.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs
from attrs import evolve, field, frozen

from starcoder_lsp.engine.engine import Cancellation, EngineError, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.host.address import Address, is_alive, known_names, runtime_folder, runtime_path, sweep
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution, LadderFile, library_folder
from starcoder_lsp.engine.host.launch import how_it_ended, inquire, last_words
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.rebuild import installed_gpu_backends
from starcoder_lsp.engine.loading import Listeners, model_path, opened, read_prompts
from starcoder_lsp.engine.model_file import ARCHITECTURES, ModelFile, check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import load_user_file, read_settings, user_file

LOAD_S = 20.0
"""How long llama.cpp may take to load, its GPU libraries included."""
ANSWER_S = 0.5
"""How long a host may take to say how it is. Its event loop never waits for the model."""
N_PROMPT_TOKENS = 256
N_DECODED_TOKENS = 32
MEASURE_MS = 120_000.0
SAMPLE = b"def area(width, height):\n    return width * height\n\n\n"
"""What the model reads where its speed is measured."""


@frozen
class Places:
    """Where the system says what it is."""

    home: Path = field(factory=Path.home)
    meminfo: Path = Path("/proc/meminfo")
    cpuinfo: Path = Path("/proc/cpuinfo")
    nvidia_driver: Path = Path("/proc/driver/nvidia")


@frozen
class Library:
    """The llama.cpp that is installed. `failure` is one line if it cannot be loaded."""

    version: str
    """Of llama-cpp-python; empty if it is not installed."""
    folder: Path | None
    gpu_backends: tuple[str, ...] = ()
    """By the names of its files."""
    system_info: str = ""
    can_offload: bool = False
    failure: str = ""


@frozen
class RunningHost:
    """A host that runs, and what it says of itself; or why it says nothing."""

    name: str
    status: Mapping[str, Any] = field(factory=dict)
    problem: str = ""


@frozen
class Memory:
    """Of this machine, in bytes."""

    n_total: int
    n_available: int


@frozen
class Speed:
    """As measured with a host of its own, in tokens a second. `told` is what a user was told meanwhile."""

    prefill: float
    decode: float
    load_s: float
    n_gpu_layers: int
    told: tuple[str, ...] = ()


@frozen
class Facts:
    """All that the checks look at."""

    places: Places
    settings: Settings
    settings_path: Path
    has_settings_file: bool
    file_problems: tuple[str, ...]
    """Why the whole file of settings is ignored."""
    setting_problems: tuple[str, ...]
    model_path: Path
    model: ModelFile | None
    prompts: PromptModel | None
    model_problem: EngineError | None
    library: Library
    cpu_flags: frozenset[str]
    """As Linux names them; empty on other systems."""
    has_nvidia_gpu: bool
    crashes: tuple[Mapping[str, Any], ...]
    """What the ladder remembers for this CPU and build."""
    n_forgotten: int | None
    """How many crashes were forgotten, if that was asked for."""
    memory: Memory | None
    runtime_path: Path
    runtime_problem: str
    cache_path: Path
    state_path: Path
    hosts: tuple[RunningHost, ...]
    gone: Mapping[str, str]
    """The last words of hosts that are gone, by name. Their files have been removed."""
    speed: Speed | None = None
    speed_problem: str = ""

    @property
    def caution(self) -> Caution:
        """How carefully the model is run."""
        kind = self.model.architecture if self.model is not None else ""
        remembered = [entry.get("caution", 0) for entry in self.crashes if entry.get("kind") == kind]
        return Caution(max(remembered, default=0))

    @property
    def runs_on_gpu(self) -> bool:
        """Whether weights go to a GPU."""
        return self.library.can_offload and self.settings.model.gpu_layers != 0 and self.caution < Caution.NO_GPU

    @property
    def host_of_model(self) -> RunningHost | None:
        """The shared host that has this model loaded with these settings."""
        if self.model is None or not self.settings.host.shared:
            return None
        key = HostOptions.of(self.settings, self.model).key
        return next((host for host in self.hosts if host.name == key), None)


def gather(
    loading: subprocess.Popen[str],
    model: str | None = None,
    places: Places | None = None,
    *,
    measures_speed: bool = False,
    forgets_crashes: bool = False,
) -> Facts:
    """Look at everything. `loading` is a process that loads llama.cpp, `model` another file than the configured one."""
    places = places or Places()
    own = load_user_file(user_file())
    settings, problems = read_settings([own])
    if model is not None:
        settings = evolve(settings, model=evolve(settings.model, path=model))
    file, prompts, model_problem = _read_model(settings)
    ladder = LadderFile()
    n_forgotten = ladder.forget(ARCHITECTURES) if forgets_crashes else None
    hosts, gone, runtime_problem = _find_hosts()
    library = library_of(loading)  # before the speed is measured: it would compete
    can_measure = measures_speed and prompts is not None and not library.failure
    speed, speed_problem = _measure(settings) if can_measure else (None, "")
    has_settings_file = False
    with suppress(OSError):  # whether it can be read is told by `load_user_file`
        has_settings_file = user_file().exists()
    return Facts(
        places=places,
        settings=settings,
        settings_path=user_file(),
        has_settings_file=has_settings_file,
        file_problems=own.problems,
        setting_problems=problems[len(own.problems) :],
        model_path=model_path(settings),
        model=file,
        prompts=prompts,
        model_problem=model_problem,
        library=library,
        cpu_flags=cpu_flags(places.cpuinfo),
        has_nvidia_gpu=places.nvidia_driver.exists() or shutil.which("nvidia-smi") is not None,
        crashes=tuple(entry for kind in ARCHITECTURES if (entry := known_entry(ladder.entry(kind)))),
        n_forgotten=n_forgotten,
        memory=read_memory(places.meminfo),
        runtime_path=runtime_path(),
        runtime_problem=runtime_problem,
        cache_path=platformdirs.user_cache_path("starcoder-lsp", appauthor=False),
        state_path=ladder.path.parent,
        hosts=hosts,
        gone=gone,
        speed=speed,
        speed_problem=speed_problem,
    )


def _read_model(settings: Settings) -> tuple[ModelFile | None, PromptModel | None, EngineError | None]:
    """The model file and its vocabulary, or what is wrong with them."""
    file = None
    try:
        file = check_model_file(model_path(settings))
        return file, read_prompts(settings), None
    except EngineError as error:
        return file, None, error


# llama.cpp


def library_of(loading: subprocess.Popen[str], wait_s: float = LOAD_S) -> Library:
    """What came of loading llama.cpp: its answer, or how the process ended."""
    try:
        installed = version("llama-cpp-python")
    except PackageNotFoundError:
        installed = ""
    library = Library(installed, library_folder(), tuple(installed_gpu_backends()))
    try:
        output, errors = loading.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        loading.kill()
        loading.communicate()
        return evolve(library, failure=f"it is not loaded after {wait_s:.0f} s")
    if loading.returncode < 0:
        return evolve(library, failure=f"a process that loads it does not survive: {how_it_ended(loading.returncode)}")
    try:
        told = json.loads(output.strip().splitlines()[-1])
        return evolve(library, system_info=str(told["systemInfo"]), can_offload=bool(told["canOffload"]))
    except (ValueError, LookupError, TypeError):
        words = errors.strip().splitlines()
        return evolve(library, failure=words[-1] if words else how_it_ended(loading.returncode))


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """The features of this CPU, as Linux names them."""
    with suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return frozenset(flags.split())
    return frozenset()


def known_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the ladder's file says, if it makes sense; otherwise nothing, as for the ladder itself."""
    return entry if entry.get("caution") in set(WHAT_IT_COSTS) and isinstance(entry.get("crash"), dict) else {}


def read_memory(meminfo: Path) -> Memory | None:
    """The memory of this machine, where the system says what of it is free for programs."""
    with suppress(OSError, KeyError, ValueError, IndexError):
        rows = (line.partition(":") for line in meminfo.read_text().splitlines())
        kib = {name: int(value.split()[0]) for name, _, value in rows if name in {"MemTotal", "MemAvailable"}}
        return Memory(kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024)
    return None


# Hosts


def _find_hosts() -> tuple[tuple[RunningHost, ...], Mapping[str, str], str]:
    """The hosts that run, the last words of those that are gone, and what is wrong with the folder."""
    try:
        folder = runtime_folder()
        names = list(known_names(folder))
    except EngineError as error:
        return (), {}, str(error)
    except OSError as error:
        return (), {}, f"the folder {runtime_path()} cannot be read ({error.strerror or error})"
    alive = [name for name in names if is_alive(folder, name)]
    gone = {name: last_words(Address.known(folder, name)) for name in names if name not in alive}
    sweep(folder)
    return tuple(asyncio.run(_ask_all(folder, alive))) if alive else (), gone, ""


async def _ask_all(folder: Path, names: Sequence[str]) -> list[RunningHost]:
    return await asyncio.gather(*(_ask(folder, name) for name in names))


async def _ask(folder: Path, name: str) -> RunningHost:
    try:
        async with asyncio.timeout(ANSWER_S):
            return RunningHost(name, await inquire(Address.known(folder, name)))
    except TimeoutError:
        return RunningHost(name, problem=f"it does not answer within {ANSWER_S} s")
    except OSError as error:
        return RunningHost(name, problem=error.strerror or str(error))


# Speed


def _measure(settings: Settings) -> tuple[Speed | None, str]:
    """How fast the model runs in a host of its own, or why it does not run."""
    try:
        return asyncio.run(_measured(settings)), ""
    except EngineError as error:
        return None, str(error)


async def _measured(settings: Settings) -> Speed:
    """Read a prompt and write behind it. Raises `EngineError`."""
    told: list[str] = []
    started_s = time.perf_counter()
    async with opened(settings, Listeners(on_message=told.append)) as (prompts, engine):
        load_s = time.perf_counter() - started_s
        n_tokens = min(N_PROMPT_TOKENS, prompts.n_context - N_DECODED_TOKENS)
        ids = prompts.fim.psm(prompts.tokenizer.encode(SAMPLE * n_tokens), ()).ids[:n_tokens]
        asked = GenerationRequest("doctor", Prompt(ids, frozenset(), "doctor"), N_DECODED_TOKENS, MEASURE_MS)
        done = await generate(engine, asked, prompts.tokenizer.piece, lambda _text: None, Cancellation())
        if done.n_generated < 2 or not done.decode_ms or not done.prefill_ms:  # noqa: PLR2004  a first and a next one
            message = f"the model wrote {done.n_generated} tokens in {MEASURE_MS / 1000:.0f} s"
            raise EngineError(message)
        return Speed(
            prefill=done.n_evaluated / done.prefill_ms * 1000,
            decode=(done.n_generated - 1) / done.decode_ms * 1000,
            load_s=load_s,
            n_gpu_layers=engine.n_gpu_layers,
            told=tuple(told),
        )
