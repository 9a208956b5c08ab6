"""Measure how fast this machine reads memory: decoding speed depends on it, since each token reads every weight once.

`memchr` of the C library searches a missing byte in a buffer for each thread that is larger than a core's share of the
caches. ctypes releases the interpreter's lock meanwhile, so the threads read side by side.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from starcoder_lsp.engine.threads import default_n_threads
from starcoder_lsp.models.state import read_json, state_path, write_json

BUFFER_BYTES: Final = 48 << 20
"""The buffer of each thread. With 16 MiB, the last-level cache of the measured machine served a part of the reads."""
N_ROUNDS: Final = 4
"""The number of rounds. The best one counts, since other programs may disturb the others."""
MAX_AGE: Final = timedelta(days=30)
FILE_NAME: Final = "bandwidth.json"
_LARGE_MODEL_BYTES: Final = 1 << 30


def bandwidth(path: Path | None = None, *, measures_anew: bool = False) -> float:
    """Return bytes a second, as measured on this processor within the last month, or else now (about 0.1 s)."""
    path = path or state_path(FILE_NAME)
    n_threads = default_n_threads(_LARGE_MODEL_BYTES)
    key = f"{n_threads} threads, {_processor()}"
    entry: Any = read_json(path).get(key)
    try:
        is_fresh = datetime.now(UTC) - datetime.fromisoformat(entry["measured"]) < MAX_AGE
        if is_fresh and not measures_anew and entry["bytesPerSecond"] > 0:
            return float(entry["bytesPerSecond"])
    except (TypeError, LookupError, ValueError):
        pass
    measured = measure(n_threads)
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(path, {**read_json(path), key: {"bytesPerSecond": measured, "measured": now}})
    except OSError:
        pass  # it is measured again next time
    return measured


def measure(n_threads: int, n_buffer_bytes: int = BUFFER_BYTES, n_rounds: int = N_ROUNDS) -> float:
    """Return the bytes that `n_threads` threads read in a second, the best of some rounds."""
    from concurrent.futures import ThreadPoolExecutor  # once a month

    find = _memchr()
    buffers = [ctypes.create_string_buffer(n_buffer_bytes) for _ in range(n_threads)]
    for buffer in buffers:
        ctypes.memset(buffer, 2, n_buffer_bytes)  # untouched pages would all be the same one, of zeros
    with ThreadPoolExecutor(n_threads) as pool:

        def read(buffer: ctypes.Array[ctypes.c_char]) -> float:
            started = time.thread_time()  # not wall time: other programs on these cores must not count
            find(buffer, 1, n_buffer_bytes)
            return n_buffer_bytes / max(time.thread_time() - started, 1e-6)

        return max(sum(pool.map(read, buffers)) for _ in range(n_rounds))


def _processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memchr() -> Any:
    library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    library.memchr.restype = ctypes.c_void_p
    library.memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    return library.memchr
