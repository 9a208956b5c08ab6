"""The lines of `doctor`'s report: functions from what was gathered to what is right, what is not, and what to do."""

from __future__ import annotations

import os
import platform
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from starcoder_lsp import __version__
from starcoder_lsp.cli.doctor_facts import Facts, Memory, RunningHost
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution
from starcoder_lsp.engine.host.rebuild import REQUIREMENT, rebuild_command
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import ModelFileError

OK, WARNING, ERROR = "ok", "warning", "error"
MIB = 1024 * 1024
N_OVERHEAD_BYTES = 200 * MIB
"""What a host takes besides weights, cells and parked states (bench/RESULTS.md)."""
MIN_CONTEXT_TOKENS = 1024
"""A context that is cut further leaves the model too little to see."""
N_CELLS_A_CLIENT = {True: 2, False: 1}
"""Contexts of a host, by whether it is shared (`engine/host/server.py`)."""
SLOW_TOKENS_PER_SECOND = 6.0
"""At this speed a line of ten tokens takes more than one and a half seconds."""
MIN_PYTHON = (3, 11)

FEATURES = {
    "SSE3": "pni",
    "SSSE3": "ssse3",
    "AVX": "avx",
    "AVX_VNNI": "avx_vnni",
    "AVX2": "avx2",
    "F16C": "f16c",
    "FMA": "fma",
    "BMI2": "bmi2",
    "AVX512": "avx512f",
    "AVX512_VBMI": "avx512vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AMX_INT8": "amx_int8",
    "NEON": "asimd",
    "FP16_VA": "asimdhp",
    "DOTPROD": "asimddp",
    "MATMUL_INT8": "i8mm",
    "SVE": "sve",
    "SME": "sme",
}
"""Features of a CPU: what llama.cpp calls them, and what Linux does."""
SLOW_WITHOUT = {"AVX", "AVX2", "F16C", "FMA", "NEON", "DOTPROD"}
"""A build without one of these is several times slower than one that has it."""


@frozen
class Check:
    """One line of the report. `advice` says what to do; a line to paste into a shell stands on a line of its own."""

    name: str
    state: str
    found: str
    advice: str = ""


def check_programs(facts: Facts) -> Iterator[Check]:
    """Python and this program."""
    python = Check("Python", OK, f"{platform.python_version()}, {sys.executable}")
    if sys.version_info < MIN_PYTHON:
        yield Check(python.name, ERROR, python.found, "Install starcoder-lsp with Python 3.11 or newer.")
    else:
        yield python
    yield Check("starcoder-lsp", OK, f"{__version__}, {Path(__file__).parents[1]}")
    library, wanted = facts.library, REQUIREMENT.partition("==")[2]
    found = f"{library.version or 'not installed'}, libraries in {library.folder or 'no folder'}"
    if library.version != wanted:
        advice = f"This program is written for {wanted}:\n{rebuild_command()}"
        yield Check("llama-cpp-python", WARNING if library.version else ERROR, found, advice)
    else:
        yield Check("llama-cpp-python", OK, found)


def check_library(facts: Facts) -> Iterator[Check]:
    """Whether llama.cpp can be loaded, and whether it was built for this CPU."""
    library = facts.library
    if library.failure:
        found = f"it cannot be loaded: {library.failure}"
        yield Check("llama.cpp", ERROR, found, f"It may be built for another CPU. Build it anew:\n{rebuild_command()}")
        return
    yield Check("llama.cpp", OK, "it can be loaded")
    used = used_features(library.system_info)
    if not facts.cpu_flags:
        found = f"built for {' '.join(used) or 'any CPU'}; this system does not tell which of it the CPU has"
        yield Check("CPU", OK, found)
        return
    missing = [name for name in used if FEATURES[name] not in facts.cpu_flags]
    if missing:
        found = f"llama.cpp was built for {' '.join(missing)}, which this CPU does not have: it crashes (SIGILL)"
        yield Check("CPU", ERROR, found, f"Build it anew on this machine:\n{rebuild_command()}")
        return
    unused = [name for name, flag in FEATURES.items() if flag in facts.cpu_flags and name not in used]
    found = f"llama.cpp was built for {' '.join(used) or 'any CPU'}, and this CPU has it"
    if SLOW_WITHOUT & set(unused):
        found = f"llama.cpp was built without {' '.join(unused)}, which this CPU has: it is several times slower"
        yield Check("CPU", WARNING, found, f"Build it anew on this machine:\n{rebuild_command()}")
    elif unused:
        yield Check("CPU", OK, f"{found}; what it has besides is not used: {' '.join(unused)}")
    else:
        yield Check("CPU", OK, found)


def used_features(system_info: str) -> list[str]:
    """The CPU features that llama.cpp was built with, as far as it tells and this program knows them.

    On x86 those are the compiler's options. On ARM llama.cpp finds some out as it runs, and a build with several
    variants of its CPU library tells of the one that it has chosen; what it says it uses is then there.
    """
    told = dict(re.findall(r"(\w+) = (\w+)", system_info))
    return [name for name in FEATURES if told.get(name, "0") != "0"]


def check_crashes(facts: Facts) -> Iterator[Check]:
    """What was turned off because llama.cpp crashed."""
    if facts.n_forgotten is not None:
        again = "; servers that start from now on try everything" if facts.n_forgotten else ""
        yield Check("forgotten", OK, f"{counted(facts.n_forgotten, 'remembered crash', 'remembered crashes')}{again}")
    for entry in facts.crashes:
        crash = {name: str(value) for name, value in entry["crash"].items()}
        words = f": {crash['words']}" if crash.get("words") else ""
        at = f" on {crash['at']}" if "at" in crash else ""
        found = (
            f"llama.cpp crashed{at} with a {entry.get('kind')} model while it was {crash.get('stage') or 'started'}"
            f" ({crash.get('how')}{words}); since then: {WHAT_IT_COSTS[Caution(entry['caution'])]}"
        )
        advice = (
            "This ends when llama.cpp is built anew, or when it is told to try again:"
            "\nstarcoder-lsp doctor --forget-crashes"
        )
        yield Check("crashes", WARNING, found, advice)
    if not facts.crashes and not facts.n_forgotten:
        yield Check("crashes", OK, "none is remembered for this CPU and this build; nothing is turned off")


def check_gpu(facts: Facts) -> Iterator[Check]:
    """Whether a GPU is used."""
    library, n_layers = facts.library, facts.settings.model.gpu_layers
    backends = ", ".join(name.upper() for name in library.gpu_backends)
    if library.can_offload:
        where = {0: "none of the model, as model.gpuLayers is 0", -1: "the whole model"}
        what = where.get(n_layers, f"{n_layers} layers of the model (model.gpuLayers)")
        if facts.caution >= Caution.NO_GPU:
            what = "none of the model, after a crash"
        yield Check("GPU", OK, f"llama.cpp can use it{f' ({backends})' if backends else ''}: it gets {what}")
    elif backends and not library.failure:
        found = f"llama.cpp was built for one ({backends}) and finds none"
        yield Check("GPU", WARNING, found, "Check that the driver is installed and that this user may use the device.")
    elif facts.has_nvidia_gpu and "cuda" not in library.gpu_backends:
        found = "there is an NVIDIA GPU, and llama.cpp was built without CUDA"
        advice = f"Install the CUDA toolkit, and build llama.cpp for it:\n{rebuild_command('cuda')}"
        yield Check("GPU", WARNING, found, advice)
    elif backends:
        yield Check("GPU", OK, f"llama.cpp was built for one ({backends})")
    else:
        yield Check("GPU", OK, "llama.cpp was built without GPU support; the model runs on the CPU")


def check_model(facts: Facts) -> Iterator[Check]:
    """The model file and the prompts that it gets."""
    file, prompts = facts.model, facts.prompts
    problem = facts.model_problem
    if isinstance(problem, ModelFileError):
        yield Check("model", ERROR, problem.reason, f"{problem.advice}.")
    elif problem is not None:
        yield Check("model", ERROR, str(problem), "Set model.path to a StarCoder2 or StarCoder file in GGUF format.")
    if file is None or prompts is None:
        return
    where = f"{file.name}, {file.architecture}, {file.n_parameters:,} parameters, {size(file.n_bytes)}, {file.path}"
    if facts.model_path == DEMONSTRATOR:
        advice = (
            "It shows that everything works, and is often wrong: it is not StarCoder2. Download StarCoder2 3B or 7B in"
            f" GGUF format, and set model.path in {facts.settings_path} or in the editor."
        )
        yield Check("model", WARNING, f"the demonstrator that comes with the package: {where}", advice)
    else:
        yield Check("model", OK, where)
    layouts = "PSM and repository" if prompts.fim.has_repository else "PSM"
    yield Check("prompt format", OK, f"{prompts.fim.name}, {layouts}")
    wanted = facts.settings.model.context_length
    if wanted > file.n_context_train:
        why = f"all that the model was trained on; model.contextLength is {wanted:,}"
    else:
        why = f"model.contextLength; the model was trained on {file.n_context_train:,}"
    yield Check("context", OK, f"{prompts.n_context:,} tokens ({why})")


def check_memory(facts: Facts) -> Iterator[Check]:
    """Whether the model fits this machine."""
    if facts.model is None or facts.prompts is None:
        return
    n_cells = facts.prompts.n_context * N_CELLS_A_CLIENT[facts.settings.host.shared]
    n_kv, n_parked = n_cells * facts.model.n_kv_bytes, facts.settings.cache.ram_mib * MIB
    n_weights, max_bytes = facts.model.n_bytes, facts.model.n_bytes + n_kv + n_parked + N_OVERHEAD_BYTES
    needed = (
        f"up to {size(max_bytes)} ({size(n_weights)} of weights, {size(n_kv)} for {n_cells:,} tokens,"
        f" {size(n_parked)} for parked documents, {size(N_OVERHEAD_BYTES)} besides)"
    )
    if facts.runs_on_gpu:
        yield Check("memory", OK, f"{needed}, weights and tokens of it on the GPU as far as layers are there")
    elif facts.memory is None:
        yield Check("memory", OK, f"{needed}; this system does not tell what is free")
    elif facts.host_of_model is not None:
        yield Check("memory", OK, f"{needed}; a shared process has the model already")
    else:
        yield _judge_memory(
            facts, facts.memory, max_bytes, f"{needed}, of {size(facts.memory.n_available)} that are free"
        )


def _judge_memory(facts: Facts, memory: Memory, max_bytes: int, found: str) -> Check:
    """What is needed without the parked states must be there; all of it should be."""
    n_parked = facts.settings.cache.ram_mib * MIB
    n_missing, advice = max_bytes - memory.n_available, smaller(facts, max_bytes - memory.n_available)
    if max_bytes - n_parked > memory.n_total:
        return Check("memory", ERROR, f"{found}; this machine has {size(memory.n_total)} in all", advice)
    return Check("memory", OK, found) if n_missing <= 0 else Check("memory", WARNING, found, advice)


def smaller(facts: Facts, n_missing: int) -> str:
    """The setting that saves so many bytes with the least loss, or another model."""
    assert facts.model is not None  # noqa: S101  it needs the memory
    assert facts.prompts is not None  # noqa: S101  as above
    ram_mib, n_context = facts.settings.cache.ram_mib, facts.prompts.n_context
    n_missing_mib = -(-n_missing // MIB)
    if n_missing_mib <= ram_mib:
        return f"Close other programs, or set cache.ramMiB to {ram_mib - n_missing_mib} in {facts.settings_path}."
    n_a_token = facts.model.n_kv_bytes * N_CELLS_A_CLIENT[facts.settings.host.shared]
    n_left = n_context - -(-(n_missing - ram_mib * MIB) // n_a_token)
    if n_left >= MIN_CONTEXT_TOKENS:
        n_left -= n_left % 256
        settings = f"cache.ramMiB to 0 and model.contextLength to {n_left}"
        return f"Close other programs, or set {settings} in {facts.settings_path}."
    return "Take a smaller model or one with fewer bits a weight, such as StarCoder2 3B in Q4_0."


def check_speed(facts: Facts) -> Iterator[Check]:
    """What was measured, and what it means."""
    for message in facts.speed.told if facts.speed is not None else ():
        yield Check("speed", WARNING, message, "The line `crashes` says how to try again.")
    if facts.speed_problem:
        command = rebuild_command()
        found, _, _ = facts.speed_problem.partition(f"; build it anew: {command}")
        advice = f"Build it anew:\n{command}" if found != facts.speed_problem else "Other lines here may say why."
        yield Check("speed", ERROR, found, advice)
    if facts.speed is None or facts.prompts is None:
        return
    from starcoder_lsp.prompting import MIN_COLD_TOKENS

    speed, context = facts.speed, facts.settings.context
    gpu = f"{speed.n_gpu_layers} layers on the GPU" if speed.n_gpu_layers else "on the CPU"
    speeds = f"reads {speed.prefill:,.0f} tokens/s, writes {speed.decode:,.1f} tokens/s"
    found = f"{speeds}, loaded in {speed.load_s:.1f} s, {gpu}"
    if speed.decode < SLOW_TOKENS_PER_SECOND:
        advice = f"A line has about 10 tokens: it takes {10 / speed.decode:.1f} s. A smaller model writes faster."
        yield Check("speed", WARNING, found, advice)
    else:
        yield Check("speed", OK, found)
    n_fitting = int(speed.prefill * context.max_prefill_ms / 1000)
    n_read = min(n_fitting, context.max_tokens)
    found = f"{n_read:,} of {context.max_tokens:,} tokens (context.maxTokens) are read at a new place"
    if n_fitting < MIN_COLD_TOKENS:
        needed_ms = int(MIN_COLD_TOKENS / speed.prefill * 1000)
        advice = (
            f"The least is {MIN_COLD_TOKENS}, which takes {needed_ms:,} ms: take a smaller model or one with fewer"
            f" bits a weight, or set context.maxPrefillMs ({context.max_prefill_ms:,}) to that and wait."
        )
        yield Check("prompt", WARNING, found, advice)
    else:
        yield Check("prompt", OK, f"{found} (context.maxPrefillMs {context.max_prefill_ms:,})")


def check_folders(facts: Facts) -> Iterator[Check]:
    """Folders and whose they are. The one for sockets must be the user's alone."""
    folder = facts.runtime_path
    if facts.runtime_problem:
        advice = "Set XDG_RUNTIME_DIR to a folder that is yours."
        if folder.is_dir() and _is_own(folder):
            advice = f"Take it from the others:\nchmod 700 {shlex.quote(str(folder))}"
        yield Check("runtime folder", ERROR, facts.runtime_problem, advice)
    else:
        yield Check("runtime folder", OK, f"{folder}{_mode(folder)}")
    yield _folder("cache folder", facts.cache_path, 0o022, f", {size(n_bytes_in(facts.cache_path))}")
    if (facts.cache_path / "states").exists():  # source text can be read from them
        yield _folder("states on disk", facts.cache_path / "states", 0o077)
    yield _folder("state folder", facts.state_path, 0o022)
    yield _folder("config folder", facts.settings_path.parent, 0o022)


def _folder(name: str, folder: Path, too_much: int, more: str = "") -> Check:
    """A folder that need not be there. Others must not have the permissions `too_much`."""
    if not folder.exists():
        return Check(name, OK, f"{folder}, not there yet")
    path, found = shlex.quote(str(folder)), f"{folder}{_mode(folder)}{more}"
    if not _is_own(folder):
        return Check(name, WARNING, f"{found}, is not yours", f'Take it over:\nsudo chown -R "$(id -u)" {path}')
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(name, WARNING, f"{found}, cannot be written to", f"Allow it:\nchmod u+rwx {path}")
    if hasattr(os, "getuid") and stat.S_IMODE(folder.stat().st_mode) & too_much:
        may = "read" if too_much & 0o044 else "write"
        taken = "go-rwx" if too_much & 0o044 else "go-w"
        return Check(name, WARNING, f"{found}, others may {may} there", f"Take it from them:\nchmod {taken} {path}")
    return Check(name, OK, found)


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


def _mode(folder: Path) -> str:
    with suppress(OSError):
        return f", mode {stat.S_IMODE(folder.stat().st_mode):o}" if hasattr(os, "getuid") else ""
    return ""


def n_bytes_in(folder: Path) -> int:
    """The size of all files below a folder."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                n_bytes += Path(parent, name).lstat().st_size
    return n_bytes


def check_settings(facts: Facts) -> Iterator[Check]:
    """The user's own settings. What an editor sends besides is not known here."""
    path = facts.settings_path
    if facts.file_problems:
        for problem in facts.file_problems:
            yield Check("settings", ERROR, problem, "Correct it; until then every setting in it is ignored.")
    elif facts.has_settings_file:
        yield Check("settings", OK, f"{path}; an editor may set others")
    else:
        yield Check("settings", OK, f"there is no {path}: all defaults, but for what an editor sets")
    for problem in facts.setting_problems:
        yield Check("settings", WARNING, problem, f"Correct it in {path}; `starcoder-lsp settings` lists all settings.")


def check_hosts(facts: Facts) -> Iterator[Check]:
    """The processes with a model that run, and what others have left behind."""
    for host in facts.hosts:
        yield _host(host)
    if not facts.hosts and not facts.runtime_problem:
        yield Check("model process", OK, "none runs; an editor starts one")
    if facts.gone:
        words = "".join(f"; {name} said last: {said}" for name, said in facts.gone.items() if said)
        removed = counted(len(facts.gone), "process that is gone", "processes that are gone")
        yield Check("left behind", OK, f"removed the files of {removed}{words}")


def _host(host: RunningHost) -> Check:
    """One process, as it told of itself."""
    if host.problem:
        advice = f"Restart the editors. If it stays so, end it:\npkill -f 'starcoder_lsp host {host.name}'"
        return Check("model process", WARNING, f"{host.name}: {host.problem}", advice)
    told = host.status
    if told.get("version") != __version__:
        found = f"process {told.get('processId')} is of version {told.get('version')}, and this is {__version__}"
        return Check("model process", WARNING, found, "Restart the editors that use it.")
    clients = [f"{client['name']} ({client['processId']})" for client in told.get("clients", ())]
    parts = [
        f"process {told.get('processId')}",
        "shared" if told.get("isShared") else "one server's own",
        str(told.get("state")),
        f"{told.get('prefillSpeed', 0):,.0f} tokens/s read",
        str(told.get("model")),
        f"{counted(len(clients), 'client', 'clients')}{': ' if clients else ''}{', '.join(clients)}",
    ]
    if told.get("gpuLayers"):
        parts.insert(4, f"{told['gpuLayers']} layers on a GPU")
    caution = told.get("caution", 0)
    if caution in WHAT_IT_COSTS and caution:
        parts.append(WHAT_IT_COSTS[Caution(caution)])
    return Check("model process", OK, ", ".join(parts))


def counted(n: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{n:,} {one if n == 1 else many}"


def size(n_bytes: int) -> str:
    """A number of bytes for a person."""
    return f"{n_bytes / MIB / 1024:,.1f} GiB" if n_bytes >= 1024 * MIB else f"{n_bytes / MIB:,.0f} MiB"
