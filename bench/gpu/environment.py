"""Find llama.cpp, CUDA's libraries and the packages that the steps need. Imports the standard library alone."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("llama-bench", "llama-server")
IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it
N_ROOMY_BYTES = 48 << 30
"""The bytes of the largest two models, and some more."""


def roomy_folder() -> str:
    """Return the file system in memory if it is large: writing 43 GB to a disk takes longer than all measurements."""
    is_roomy = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > N_ROOMY_BYTES
    return str(IN_MEMORY) if is_roomy else tempfile.gettempdir()


def unpack(built: Path, folder: Path) -> Path | None:
    """Unpack the archives of build.sh. Return the folder with `lib` and `site`, `None` if there are no archives."""
    packed = [path for path in (built / "lib.tar.xz", built / "site.tar.xz") if path.is_file()]
    for path in packed:
        with tarfile.open(path) as archive:
            archive.extractall(folder / "built", filter="data")
    return folder / "built" if packed else None


def programs(built: Path | None) -> dict[str, str]:
    """Return the paths of llama.cpp's own programs: the built ones, or else those on the path."""
    found = {name: built / "lib" / name for name in PROGRAMS} if built else {}
    paths = {name: str(path) if path.is_file() else shutil.which(name) for name, path in found.items()}
    paths = paths or {name: shutil.which(name) for name in PROGRAMS}
    return {name: path for name, path in paths.items() if path}


def for_children(root: Path, built: Path | None) -> dict[str, str]:
    """Return the environment variables of the steps."""
    env = dict(os.environ)
    paths = [str(root)]
    if built is not None:
        paths += [str(built / "site")] if (built / "site").is_dir() and not _is_installed() else []
        if (built / "lib").is_dir():
            env["LLAMA_CPP_LIB_PATH"] = str(built / "lib")
            libraries = [str(built / "lib"), *dict.fromkeys(map(str, _cuda_folders()))]
            env["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, env.get("LD_LIBRARY_PATH", "")]).strip(os.pathsep)
    env["PYTHONPATH"] = os.pathsep.join([*paths, env.get("PYTHONPATH", "")]).strip(os.pathsep)
    return env


def _is_installed() -> bool:
    """Return whether this Python has the packages that the program needs."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("llama_cpp", "pygls", "msgspec", "tree_sitter_language_pack"))


def _cuda_folders() -> Iterator[Path]:
    """Folders that may hold cuBLAS: PyTorch's packages, and CUDA's own installation."""
    for site in dict.fromkeys([*sys.path, sysconfig.get_paths()["purelib"]]):
        for library in Path(site).glob("nvidia/*/lib/libcublas.so.*"):
            yield library.parent
    for library in Path("/usr/local").glob("cuda*/lib64/libcublas.so.*"):
        yield library.parent
