"""One step of run.py, in a process of its own: `python bench/gpu/steps.py JSON`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from task import Task

MODULES = {
    "model_steps": ("speed", "offload", "cancel"),
    "server_steps": ("replay", "ladder", "compare", "llama_bench"),
    "steps": ("machine",),
}
"""The module of each step; only the needed one is imported."""


def machine(task: Task) -> None:
    """Report the GPU, llama.cpp and the processor."""
    from importlib.metadata import PackageNotFoundError, version

    import llama_cpp

    from starcoder_lsp.cli.bench.figures import machine as processor
    from starcoder_lsp.engine.local.llama import start_backend

    try:
        numpy = version("numpy")
    except PackageNotFoundError:
        numpy = ""
    task.row("machine", gpu=task.ask_gpu("name,memory.total,driver_version"), **processor())
    start_backend()
    can_offload = bool(llama_cpp.llama_supports_gpu_offload())
    system_info = bytes(llama_cpp.llama_print_system_info()).decode()
    task.row("llama.cpp", can_offload=can_offload, llama_cpp_python=llama_cpp.__version__, system_info=system_info)
    task.row("python", python=sys.version.split()[0], numpy=numpy, programs=task.programs)


def main() -> None:
    """Run the step that the argument names."""
    task = Task.of(json.loads(sys.argv[1]), time.monotonic())
    (module,) = (name for name, steps in MODULES.items() if task.step in steps)
    run: Callable[[Task], Any] = getattr(import_module(module), task.step)
    done = run(task)
    if asyncio.iscoroutine(done):
        asyncio.run(done)


if __name__ == "__main__":
    main()
