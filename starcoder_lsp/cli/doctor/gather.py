"""Gather the facts: read files, load llama.cpp, and ask the running hosts.

llama.cpp is loaded in a process of its own, since loading may crash it. The rest is read meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs
from attrs import evolve

from starcoder_lsp.cli import coroutines
from starcoder_lsp.cli.doctor.engine import look_at_engine
from starcoder_lsp.cli.doctor.facts import Facts, Library, Memory, Places, RunningHost
from starcoder_lsp.cli.doctor.speed import measure
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.host.address import Address, is_alive, known_names, runtime_folder, runtime_path, sweep
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, LadderFile, library_folder
from starcoder_lsp.engine.host.launch import how_it_ended, inquire, last_words
from starcoder_lsp.engine.host.rebuild import installed_gpu_backends
from starcoder_lsp.engine.loading import model_path, read_prompts
from starcoder_lsp.engine.lora import check_lora
from starcoder_lsp.engine.model_file import ModelFile, check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.models.chosen import with_model, with_path
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import load_user_file, read_settings, user_file

LOAD_S = 20.0
"""The time to load llama.cpp, GPU libraries included. Not measured."""
ANSWER_S = 0.5
"""The time for a host to answer; its event loop never waits for the model. Not measured."""


def gather(
    loading: subprocess.Popen[str],
    model: str | None = None,
    places: Places | None = None,
    *,
    measures_speed: bool = False,
    forgets_crashes: bool = False,
) -> Facts:
    """Gather all facts. `loading` is a process that loads llama.cpp; `model` replaces the configured file."""
    places = places or Places()
    own = load_user_file(user_file())
    settings, problems = read_settings([own])
    if model is not None:
        settings = with_model(settings, model)
    settings, name_problem = _with_path(settings)
    file, prompts, model_problem = _read_model(settings) if name_problem is None else (None, None, name_problem)
    ladder = LadderFile()
    n_forgotten = ladder.forget(FAMILIES) if forgets_crashes else None
    hosts, ended, runtime_problem = _find_hosts()
    library = library_of(loading)  # before the speed is measured: it would compete
    can_measure = measures_speed and prompts is not None and not library.failure
    speed, speed_problem = measure(settings) if can_measure else (None, "")
    has_settings_file = False
    with suppress(OSError):  # `load_user_file` reports a file that cannot be read
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
        crashes=tuple(entry for kind in FAMILIES if (entry := known_entry(ladder.entry(kind)))),
        n_forgotten=n_forgotten,
        memory=read_memory(places.meminfo),
        runtime_path=runtime_path(),
        runtime_problem=runtime_problem,
        cache_path=platformdirs.user_cache_path("starcoder-lsp", appauthor=False),
        state_path=ladder.path.parent,
        hosts=hosts,
        ended=ended,
        engine=look_at_engine(settings),
        speed=speed,
        speed_problem=speed_problem,
    )


def _with_path(settings: Settings) -> tuple[Settings, EngineError | None]:
    """Return the settings with the path of a model that they name, or why there is none."""
    try:
        return with_path(settings), None
    except EngineError as error:
        return settings, error


def _read_model(settings: Settings) -> tuple[ModelFile | None, PromptModel | None, EngineError | None]:
    """Return the model file and its vocabulary, or the problem with them."""
    file = None
    try:
        file = check_model_file(model_path(settings))
        check_lora(settings.model.lora, file.architecture)
        return file, read_prompts(settings), None
    except EngineError as error:
        return file, None, error


def library_of(loading: subprocess.Popen[str], wait_s: float = LOAD_S) -> Library:
    """Return the description of llama.cpp by the process that loads it, or how that process failed."""
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
        return evolve(library, failure=f"loading it crashes: {how_it_ended(loading.returncode)}")
    try:
        described = json.loads(output.strip().splitlines()[-1])
        return evolve(library, system_info=str(described["systemInfo"]), can_offload=bool(described["canOffload"]))
    except (ValueError, LookupError, TypeError):
        words = errors.strip().splitlines()
        return evolve(library, failure=words[-1] if words else how_it_ended(loading.returncode))


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """Return Linux' names of this CPU's features."""
    with suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return frozenset(flags.split())
    return frozenset()


def known_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry of the ladder's file, or an empty one if it is malformed, as the ladder itself does."""
    return entry if entry.get("caution") in set(WHAT_IT_COSTS) and isinstance(entry.get("crash"), dict) else {}


def read_memory(meminfo: Path) -> Memory | None:
    """Return this machine's memory, `None` if the system does not tell how much is available."""
    with suppress(OSError, KeyError, ValueError, IndexError):
        rows = (line.partition(":") for line in meminfo.read_text().splitlines())
        kib = {name: int(value.split()[0]) for name, _, value in rows if name in {"MemTotal", "MemAvailable"}}
        return Memory(kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024)
    return None


def _find_hosts() -> tuple[tuple[RunningHost, ...], Mapping[str, str], str]:
    """Return the running hosts, the last lines of those that ended, and the problem with the folder."""
    try:
        folder = runtime_folder()
        names = list(known_names(folder))
    except EngineError as error:
        return (), {}, str(error)
    except OSError as error:
        return (), {}, f"the folder {runtime_path()} cannot be read ({error.strerror or error})"
    alive = [name for name in names if is_alive(folder, name)]
    ended = {name: last_words(Address.known(folder, name)) for name in names if name not in alive}
    sweep(folder)
    return tuple(coroutines.run(_inquire_all(folder, alive))) if alive else (), ended, ""


async def _inquire_all(folder: Path, names: Sequence[str]) -> list[RunningHost]:
    return await asyncio.gather(*(_inquire(folder, name) for name in names))


async def _inquire(folder: Path, name: str) -> RunningHost:
    try:
        async with asyncio.timeout(ANSWER_S):
            return RunningHost(name, await inquire(Address.known(folder, name)))
    except TimeoutError:
        return RunningHost(name, problem=f"it does not answer within {ANSWER_S} s")
    except OSError as error:
        return RunningHost(name, problem=error.strerror or str(error))
