"""The command that rebuilds llama.cpp."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from starcoder_lsp.engine.host import rebuild

ROOT = Path(__file__).parents[2]


def test_the_command_names_this_interpreter_and_the_pinned_version() -> None:
    assignment, *command = shlex.split(rebuild.rebuild_command())
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-1] == rebuild.REQUIREMENT
    name, _, options = assignment.partition("=")
    assert name == "CMAKE_ARGS"
    assert shlex.split(options)[-1] == f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={rebuild.CMAKE_FILE}"
    assert rebuild.CMAKE_FILE.is_file()
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert rebuild.REQUIREMENT in pinned


def test_the_command_is_quoted_for_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spy = tmp_path / "it's a python"
    spy.write_text(f"#!{sys.executable}\nimport os, sys\nprint([os.environ['CMAKE_ARGS'], *sys.argv[1:]])\n")
    spy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(spy))
    monkeypatch.setattr(rebuild, "CMAKE_FILE", tmp_path / "a folder" / "llama.cmake")
    shell = ["sh", "-c", rebuild.rebuild_command()]
    ran = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert "a folder/llama.cmake" in ran.stdout, ran.stderr
    assert "'install', '--force-reinstall', '--no-cache-dir'" in ran.stdout


def test_a_build_for_a_gpu_is_rebuilt_for_that_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "llama_cpp" / "lib" / "libggml-cuda.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (tmp_path / "llama_cpp" / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location("llama_cpp", tmp_path / "llama_cpp" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    assert "-DGGML_CUDA=on" in rebuild.rebuild_command()
    library.unlink()
    assert "-DGGML" not in rebuild.rebuild_command()


def test_an_environment_without_pip_gets_pip_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    first, then = rebuild.rebuild_command().split(" && ")
    assert first == shlex.join([sys.executable, "-m", "ensurepip"])
    assert then.startswith("CMAKE_ARGS=")
