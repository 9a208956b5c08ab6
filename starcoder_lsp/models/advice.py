"""Estimate a model's memory and speed on this machine, and recommend one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from starcoder_lsp.models.catalogue import Entry, entries

EFFICIENCY: Final = 0.75
"""Decoded bytes a second of a model, as a share of the bandwidth that `bandwidth.py` measures.

`bench/bandwidth.py 3b`, Q4_0, one thread: 0.68, 0.73, 0.76, 0.83 in four rounds on a busy machine (bench/RESULTS.md).
"""
N_CONTEXT: Final = 4096
"""Tokens of the default context (`model.contextLength`)."""
N_CONTEXTS: Final = 2
"""Contexts of a host that editors share (`engine/host/server.py`)."""
N_READ_TOKENS: Final = 1000
"""The tokens of a usual prompt: each decoding step reads their keys and values, too."""
OVERHEAD_BYTES: Final = 200 << 20
"""The memory of a host besides weights and cells (bench/RESULTS.md)."""
KV_BYTES: Final[Mapping[str, int]] = {"3b": 30 << 10, "7b": 64 << 10, "15b": 80 << 10, "starcoder": 20 << 10}
"""Keys and values of one token, in 16-bit floats."""
MIN_COMFORTABLE: Final = 20.0
"""The fewest tokens a second for the larger model: a line of ten tokens takes half a second."""
MIN_USABLE: Final = 6.0
"""The fewest tokens a second at all: below, a line takes over one and a half seconds, and `doctor` warns."""
SMALL, LARGE = "starcoder2-3b", "starcoder2-7b"
GB: Final = 10**9


@frozen
class Machine:
    """The properties of a machine that decide between models.

    Sizes are in bytes, `None` if unknown; the bandwidth is in bytes a second.
    `n_gpu_bytes` is the memory of the largest GPU that llama.cpp can use, 0 if there is none.
    """

    bandwidth: float
    n_memory_bytes: int | None
    n_gpu_bytes: int = 0


@frozen
class Recommendation:
    """A model of the catalogue, and the reason for it on this machine, in one sentence."""

    entry: Entry
    why: str


def n_memory_bytes_of(n_file_bytes: int, n_kv_bytes: int) -> int:
    """Return the memory that a model takes while it runs with the default context."""
    return n_file_bytes + n_kv_bytes * N_CONTEXT * N_CONTEXTS + OVERHEAD_BYTES


def tokens_per_second(n_file_bytes: int, n_kv_bytes: int, bandwidth: float) -> float:
    """Return the decoding speed to expect on the CPU: each token reads all weights and the cells of the prompt."""
    return bandwidth * EFFICIENCY / (n_file_bytes + n_kv_bytes * N_READ_TOKENS)


def recommend(machine: Machine) -> Recommendation:
    """Choose 3B or 7B by GPU memory, else by memory and the speed to expect. 15B never is: see its `good_for`."""
    small, large = entries()[SMALL], entries()[LARGE]
    if machine.n_gpu_bytes:
        for entry in (large, small):
            n_needed = n_memory_bytes_of(entry.n_bytes, KV_BYTES[entry.shape])
            if n_needed <= machine.n_gpu_bytes:
                why = f"it needs {n_needed / GB:.1f} GB of the GPU's {machine.n_gpu_bytes / GB:.1f} GB"
                return Recommendation(entry, why)
    n_large = n_memory_bytes_of(large.n_bytes, KV_BYTES[large.shape])
    fits = machine.n_memory_bytes is None or 2 * n_large <= machine.n_memory_bytes  # editors and compilers run, too
    speed = tokens_per_second(large.n_bytes, KV_BYTES[large.shape], machine.bandwidth)
    if fits and speed >= MIN_COMFORTABLE:
        return Recommendation(large, f"about {speed:.0f} tokens a second on this processor are enough")
    speed = tokens_per_second(small.n_bytes, KV_BYTES[small.shape], machine.bandwidth)
    n_small = n_memory_bytes_of(small.n_bytes, KV_BYTES[small.shape])
    why = f"about {speed:.0f} tokens a second on this processor"
    if machine.n_memory_bytes is not None and n_small > machine.n_memory_bytes:
        why += f"; but it needs {n_small / GB:.1f} GB of memory, and there are {machine.n_memory_bytes / GB:.1f} GB"
    elif speed < MIN_USABLE:
        why += ", which is slow: a GPU or a server would help"
    else:
        why += ", where 7B would be slow" if fits else ", and 7B would take more than half of the memory"
    return Recommendation(small, why)


def look_at_machine(bandwidth: float, meminfo: Path = Path("/proc/meminfo")) -> Machine:
    """Read memory and GPU of this machine."""
    n_memory_bytes = None
    with suppress(OSError, ValueError, IndexError):
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        n_memory_bytes = int(rows.get("MemTotal", "").split()[0]) * 1024
    return Machine(bandwidth, n_memory_bytes, _gpu_bytes())


def _gpu_bytes() -> int:
    """Return the memory of the largest NVIDIA GPU if llama.cpp was built for one, else 0."""
    from starcoder_lsp.engine.host.rebuild import installed_gpu_backends

    program = shutil.which("nvidia-smi")
    if program is None or not any("cuda" in name.lower() for name in installed_gpu_backends()):
        return 0
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
        return max(int(line) for line in asked.stdout.split()) << 20
    return 0
