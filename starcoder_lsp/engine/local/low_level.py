"""The module `llama_cpp.llama_cpp` alone, llama.cpp's functions, without the package around it.

Importing the package imports the `Llama` class, templates of chats and grammars too, which nothing here uses.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec
from typing import Any

PACKAGE = "llama_cpp"


def import_low_level() -> Any:
    """Import `llama_cpp.llama_cpp`. Raises `ImportError`, `OSError` and `RuntimeError` if llama.cpp cannot be loaded.

    While it is imported an empty package stands for `llama_cpp`. A later `import llama_cpp` imports the real one, with
    the same functions.
    """
    name = f"{PACKAGE}.{PACKAGE}"
    if PACKAGE in sys.modules or (spec := find_spec(PACKAGE)) is None:
        return importlib.import_module(name)
    sys.modules[PACKAGE] = module_from_spec(spec)
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[PACKAGE]


def installed_version() -> str:
    """Return the version of llama-cpp-python; empty if it is not installed as a package."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        return ""


llama_cpp = import_low_level()
