"""How many CPU threads to compute with."""

from __future__ import annotations

import os
from pathlib import Path

N_BYTES_PER_THREAD = 32 * 1024 * 1024


def default_n_threads(n_model_bytes: int) -> int:
    """Physical cores that this process may use: two threads a core make decoding slower, not faster.

    A small model gets fewer: waiting for each other costs its threads more than they save (the demonstrator on a busy
    machine: 13 ms a token with two threads, 2 ms with one).
    """
    n_logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        smt_active = Path("/sys/devices/system/cpu/smt/active").read_text().strip() == "1"
    except OSError:
        smt_active = False
    n_worth_it = 1 + n_model_bytes // N_BYTES_PER_THREAD
    return max(1, min(n_worth_it, n_logical // 2 if smt_active else n_logical))
