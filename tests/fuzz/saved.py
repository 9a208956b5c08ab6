"""Failed cases, saved as small files that the tests replay from then on."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FAILURES = Path(__file__).parent / "failures"
SEED = int(os.environ.get("STARCODER_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
"""The seed of this run. A failure names it, and `STARCODER_FUZZ_SEED` repeats it."""


@contextmanager
def saved(kind: str, case: Any, seed: int | str = SEED) -> Iterator[None]:
    """Write a case to a file if it fails inside the block.

    Hypothesis tries ever smaller cases, the smallest one last, and that one stays in the file of a seed.
    """
    path = FAILURES / f"{kind}-{seed}.json"
    try:
        yield
    except Exception as error:
        FAILURES.mkdir(exist_ok=True)
        path.write_text(json.dumps({"kind": kind, "seed": seed, "failed": str(error)[:2000], "case": case}, indent=1))
        print(f"saved as {path}; repeat the run with STARCODER_FUZZ_SEED={seed}")
        raise


def reduced(case: dict[str, Any], part: str, fails: Callable[[Any], bool], n_tries: int) -> dict[str, Any]:
    """Return a case with less of `case[part]` that still fails. Pieces are removed, half of the part first.

    `fails` is called at most `n_tries` times; a case that fails only sometimes is returned unchanged.
    """
    n_piece = len(case[part]) // 2
    while n_piece and n_tries > 0:
        start = 0
        while start < len(case[part]) and n_tries > 0:
            smaller = case | {part: case[part][:start] + case[part][start + n_piece :]}
            n_tries -= 1
            if smaller[part] and fails(smaller):
                case = smaller
            else:
                start += n_piece
        n_piece //= 2
    return case


def all_saved() -> list[Path]:
    """Return the files of cases that failed before."""
    return sorted(FAILURES.glob("*.json"))


def read(path: Path) -> tuple[str, Any]:
    """Return the kind and the case of a file."""
    content = json.loads(path.read_text())
    return content["kind"], content["case"]
