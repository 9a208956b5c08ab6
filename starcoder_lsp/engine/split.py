"""A model in several files, as llama.cpp's `gguf-split` writes them: `NAME-00001-of-00003.gguf` and so on.

The first file has the metadata and names the number of parts; each has its own tensors. llama.cpp finds the others by
their names, and takes the first one's path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starcoder_lsp.engine.model_checks import damaged, refuse

MAX_PARTS: Final = 1000
_NAME: Final = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def n_parts_of(metadata: Mapping[str, object]) -> int:
    """Return the number of files that a model has. Raises `DamagedError` for a number that makes no sense."""
    count = metadata.get("split.count", 1)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_PARTS:
        return damaged(f"its split.count is {count!r}")
    return max(1, count)


def check_first(path: Path, metadata: Mapping[str, object]) -> None:
    """Raise `RefusedError` unless the file is a whole model, or the first part under the name of one."""
    n_parts, number = n_parts_of(metadata), metadata.get("split.no", 0)
    if n_parts == 1:
        return
    match = _NAME.fullmatch(path.name)
    first = f"{match['stem'] if match else 'NAME'}-00001-of-{n_parts:05}.gguf"
    if number != 0:
        refuse(f"is a later part of a model in {n_parts} parts", f"Name the first one, {first}")
    if match is None or int(match["number"]) != 1 or int(match["count"]) != n_parts:
        refuse(f"is the first part of a model in {n_parts} parts, under a wrong name", f"Name it {first} again")


def later_parts(path: Path, metadata: Mapping[str, object]) -> list[Path]:
    """Return the paths of the other parts. `path` is that of the first one, which `check_first` accepted."""
    n_parts = n_parts_of(metadata)
    match = _NAME.fullmatch(path.name)
    stem = match["stem"] if match else ""
    return [path.with_name(f"{stem}-{number:05}-of-{n_parts:05}.gguf") for number in range(2, n_parts + 1)]


def check_part(metadata: Mapping[str, object], number: int, n_parts: int) -> None:
    """Raise `RefusedError` if a file is not the part that its name says; `number` counts from 0."""
    if metadata.get("split.no") != number or metadata.get("split.count") != n_parts:
        refuse(f"is not part {number + 1} of {n_parts}, as its name says", "Download it again")
