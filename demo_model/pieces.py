"""A file in pieces of 16 MiB with its checksum: what comes back from the machine with the GPU has such a limit.

`python -m demo_model.pieces FOLDER FILE` puts the pieces in FOLDER together as FILE.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

PIECE_BYTES = 16 * 2**20
CHECKSUM = "sha256"


def write_pieces(file: Path, folder: Path) -> None:
    """Cut `file` into `part-000`, `part-001` and so on, in place of pieces from before."""
    folder.mkdir(parents=True, exist_ok=True)
    data = file.read_bytes()
    for old in folder.glob("part-*"):
        old.unlink()
    for number, at in enumerate(range(0, len(data), PIECE_BYTES)):
        (folder / f"part-{number:03}").write_bytes(data[at : at + PIECE_BYTES])
    (folder / CHECKSUM).write_text(hashlib.sha256(data).hexdigest() + "\n")


def join_pieces(folder: Path, file: Path) -> None:
    """Put the pieces together; `ValueError` if a piece is missing or damaged."""
    data = b"".join(piece.read_bytes() for piece in sorted(folder.glob("part-*")))
    if hashlib.sha256(data).hexdigest() != (folder / CHECKSUM).read_text().strip():
        msg = f"the pieces in {folder} are not the file that was cut up"
        raise ValueError(msg)
    file.write_bytes(data)


def main() -> None:
    """Put pieces together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    join_pieces(args.folder, args.file)
    print(f"{args.file}: {args.file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
