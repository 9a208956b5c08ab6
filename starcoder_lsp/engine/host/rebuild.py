"""The command that rebuilds llama.cpp if the installed one was built for another processor.

pip caches what it built by version only. So a home folder that several machines share, or an image that moves between
them, may bring a llama.cpp that was built for another processor. The process then ends at the first instruction that
this processor lacks (SIGILL).
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

# The version in pyproject.toml; a test compares them.
REQUIREMENT = "llama-cpp-python==0.3.36"
CMAKE_FILE = Path(__file__).parents[1] / "llama.cmake"
GPU_BACKENDS = ("cuda", "hip", "musa", "sycl", "vulkan")  # Metal is on wherever it is built on a Mac


def rebuild_command(*more_backends: str) -> str:
    """Return a line for a POSIX shell that rebuilds llama.cpp for this machine and this interpreter.

    It has the GPU backends of the installed build and `more_backends`. Other options of the user's own `CMAKE_ARGS` are
    not known.
    """
    options = [f"-DGGML_{backend.upper()}=on" for backend in [*installed_gpu_backends(), *more_backends]]
    options.append(f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={CMAKE_FILE}")
    # --no-binary alone lets pip (since 23.1) use its cache; --no-cache-dir alone lets it use a wheel of --find-links.
    install = ["install", "--force-reinstall", "--no-cache-dir", "--no-deps", "--no-binary", "llama-cpp-python"]
    pip = shlex.join([sys.executable, "-m", "pip", *install, REQUIREMENT])
    build = f"CMAKE_ARGS={shlex.quote(shlex.join(options))} {pip}"
    if importlib.util.find_spec("pip") is None:  # as in environments made by uv
        return f"{shlex.join([sys.executable, '-m', 'ensurepip'])} && {build}"
    return build


def installed_gpu_backends() -> list[str]:
    """Return the GPU backends of the installed llama.cpp by its files: loading them could end the process."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None or package.origin is None:
        return []
    libraries = Path(package.origin).parent / "lib"
    return [backend for backend in GPU_BACKENDS if any(libraries.glob(f"*ggml-{backend}.*"))]
