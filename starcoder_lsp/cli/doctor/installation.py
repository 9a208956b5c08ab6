"""Checks of Python, this program, llama.cpp, its crashes and the GPU."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from starcoder_lsp import __version__
from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING, Check, counted
from starcoder_lsp.cli.doctor.facts import Facts
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution
from starcoder_lsp.engine.host.rebuild import REQUIREMENT, rebuild_command

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
"""CPU features: llama.cpp's names, and Linux' names in `/proc/cpuinfo`."""
SLOW_WITHOUT = {"AVX", "AVX2", "F16C", "FMA", "NEON", "DOTPROD"}
"""A build without one of these is several times slower. Not measured."""


def check_programs(facts: Facts) -> Iterator[Check]:
    """Check Python, this program and the version of llama-cpp-python."""
    python = Check("Python", OK, f"{platform.python_version()}, {sys.executable}")
    if sys.version_info < MIN_PYTHON:
        yield Check(python.name, ERROR, python.found, "Install starcoder-lsp with Python 3.11 or newer.")
    else:
        yield python
    yield Check("starcoder-lsp", OK, f"{__version__}, {Path(__file__).parents[1]}")
    library, wanted = facts.library, REQUIREMENT.partition("==")[2]
    found = f"{library.version or 'not installed'}, libraries in {library.folder or 'no folder'}"
    if library.version != wanted:
        advice = f"Install version {wanted}:\n{rebuild_command()}"
        yield Check("llama-cpp-python", WARNING if library.version else ERROR, found, advice)
    else:
        yield Check("llama-cpp-python", OK, found)


def check_library(facts: Facts) -> Iterator[Check]:
    """Check whether llama.cpp can be loaded, and whether it was built for this CPU."""
    library = facts.library
    if library.failure:
        found = f"it cannot be loaded: {library.failure}"
        yield Check(
            "llama.cpp", ERROR, found, f"It may have been built for another CPU. Rebuild it:\n{rebuild_command()}"
        )
        return
    yield Check("llama.cpp", OK, "it can be loaded")
    used = used_features(library.system_info)
    if not facts.cpu_flags:
        found = f"built for {' '.join(used) or 'any CPU'}; this system does not tell which features its CPU has"
        yield Check("CPU", OK, found)
        return
    missing = [name for name in used if FEATURES[name] not in facts.cpu_flags]
    if missing:
        found = f"llama.cpp was built for {' '.join(missing)}, which this CPU does not have: it crashes (SIGILL)"
        yield Check("CPU", ERROR, found, f"Rebuild it on this machine:\n{rebuild_command()}")
        return
    unused = [name for name, flag in FEATURES.items() if flag in facts.cpu_flags and name not in used]
    found = f"llama.cpp was built for {' '.join(used) or 'any CPU'}, and this CPU has it"
    if SLOW_WITHOUT & set(unused):
        found = f"llama.cpp was built without {' '.join(unused)}, which this CPU has: it is several times slower"
        yield Check("CPU", WARNING, found, f"Rebuild it on this machine:\n{rebuild_command()}")
    elif unused:
        yield Check("CPU", OK, f"{found}; what the CPU has besides is not used: {' '.join(unused)}")
    else:
        yield Check("CPU", OK, found)


def used_features(system_info: str) -> list[str]:
    """Return the CPU features that llama.cpp reports and that this program knows.

    On x86 these are the compiler's options. On ARM llama.cpp detects some at run time. A build with several variants of
    its CPU library reports the variant that it chose, whose features the CPU has.
    """
    reported = dict(re.findall(r"(\w+) = (\w+)", system_info))
    return [name for name in FEATURES if reported.get(name, "0") != "0"]


def check_crashes(facts: Facts) -> Iterator[Check]:
    """Report crashes of llama.cpp, and what was turned off after them."""
    if facts.n_forgotten is not None:
        again = "; servers that start from now on try everything again" if facts.n_forgotten else ""
        yield Check("forgotten", OK, f"{counted(facts.n_forgotten, 'remembered crash', 'remembered crashes')}{again}")
    for entry in facts.crashes:
        crash = {name: str(value) for name, value in entry["crash"].items()}
        words = f": {crash['words']}" if crash.get("words") else ""
        at = f" on {crash['at']}" if "at" in crash else ""
        found = (
            f"llama.cpp crashed{at} with a {entry.get('kind')} model while it was {crash.get('stage') or 'started'}"
            f" ({crash.get('how')}{words}); since then: {WHAT_IT_COSTS[Caution(entry['caution'])]}"
        )
        advice = "Rebuild llama.cpp, or let it try again:\nstarcoder-lsp doctor --forget-crashes"
        yield Check("crashes", WARNING, found, advice)
    if not facts.crashes and not facts.n_forgotten:
        yield Check("crashes", OK, "none remembered for this CPU and this build; nothing is turned off")


def check_gpu(facts: Facts) -> Iterator[Check]:
    """Check whether a GPU is used."""
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
        found = "this machine has an NVIDIA GPU, but llama.cpp was built without CUDA"
        advice = f"Install the CUDA toolkit and rebuild llama.cpp:\n{rebuild_command('cuda')}"
        yield Check("GPU", WARNING, found, advice)
    elif backends:
        yield Check("GPU", OK, f"llama.cpp was built for one ({backends})")
    else:
        yield Check("GPU", OK, "llama.cpp was built without GPU support; the model runs on the CPU")
