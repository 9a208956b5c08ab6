"""Lines of the report, and parts of a machine that tests replace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from starcoder_lsp.cli.doctor.check import Check

MIB, GIB = 1024**2, 1024**3


BUILD = (
    "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | BMI2 = 1 | LLAMAFILE = 1 | REPACK = 1 | "
)


ITS_CPU = frozenset(["fpu", "pni", "ssse3", "avx", "avx2", "f16c", "fma", "bmi2"])


def one(lines: Iterator[Check], name: str) -> Check:
    (check,) = [line for line in lines if line.name == name]
    return check


def child(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import os, signal, time\n{code}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
