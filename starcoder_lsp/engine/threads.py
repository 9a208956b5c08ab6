"""The number of CPU threads to compute with."""

from __future__ import annotations

import os
from pathlib import Path

N_BYTES_PER_THREAD = 32 * 1024 * 1024
"""Model bytes that are worth one more thread. On a busy machine the demonstrator takes 13 ms a token with two threads
and 2 ms with one; the value itself is not measured."""


def default_n_threads(n_model_bytes: int) -> int:
    """Return the number of physical cores that this process may use: two threads a core make decoding slower.

    A small model gets fewer: its threads lose more time waiting for each other than they save.
    """
    n_logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        smt_active = Path("/sys/devices/system/cpu/smt/active").read_text().strip() == "1"
    except OSError:
        smt_active = False
    n_useful = 1 + n_model_bytes // N_BYTES_PER_THREAD
    return max(1, min(n_useful, n_logical // 2 if smt_active else n_logical))
