"""How to build llama.cpp anew, where the one that is installed was built for another processor.

pip keeps what it built and knows it by its version only. So a home folder that several machines share, or an image that
moves between them, brings a llama.cpp that was built for another processor. The process ends at the first instruction
that this one does not have (SIGILL).
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
    """Return a line for a POSIX shell that builds llama.cpp anew for this machine and this interpreter.

    A GPU that the installed build can use stays in use, and `more_backends` are built besides. Other options of the
    user's own `CMAKE_ARGS` are not known.
    """
    options = [f"-DGGML_{backend.upper()}=on" for backend in [*installed_gpu_backends(), *more_backends]]
    options.append(f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={CMAKE_FILE}")
    # With --no-binary alone pip takes what it built before, since 23.1; without it a wheel of a --find-links folder.
    install = ["install", "--force-reinstall", "--no-cache-dir", "--no-deps", "--no-binary", "llama-cpp-python"]
    pip = shlex.join([sys.executable, "-m", "pip", *install, REQUIREMENT])
    build = f"CMAKE_ARGS={shlex.quote(shlex.join(options))} {pip}"
    if importlib.util.find_spec("pip") is None:  # environments that uv made have none
        return f"{shlex.join([sys.executable, '-m', 'ensurepip'])} && {build}"
    return build


def installed_gpu_backends() -> list[str]:
    """Return the GPU backends of the llama.cpp that is installed, by its files: loading them could end the process."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None or package.origin is None:
        return []
    libraries = Path(package.origin).parent / "lib"
    return [backend for backend in GPU_BACKENDS if any(libraries.glob(f"*ggml-{backend}.*"))]
