"""The build of llama.cpp: the effect of `llama.cmake`, in a script and in projects like the real ones."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import starcoder_lsp.engine

CMAKE_FILE = Path(starcoder_lsp.engine.__path__[0], "llama.cmake")
WITHOUT_AMX = ["-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16"]

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


# CMake's script mode has no targets, so the command that would add options to them prints its arguments.
SHOW_OPTIONS = """
function(add_compile_options)
  message("options: ${ARGN}")
endfunction()
include("${FILE}")
message("common: ${LLAMA_BUILD_COMMON}, mtmd: ${LLAVA_BUILD}")
"""


@needs_cmake
@pytest.mark.parametrize(
    ("compiler", "version", "processor", "without_amx"),
    [
        ("GNU", "10.2.1", "x86_64", False),  # knows neither AMX nor the options
        ("GNU", "11.1.0", "x86_64", True),
        ("GNU", "11.4.0", "x86_64", True),  # Ubuntu 22.04
        ("GNU", "11.5.0", "x86_64", False),
        ("GNU", "12.2.0", "x86_64", True),  # Debian 12
        ("GNU", "12.2.0", "AMD64", True),
        ("GNU", "12.2.0", "aarch64", False),
        ("GNU", "12.4.0", "x86_64", False),
        ("GNU", "13.2.0", "x86_64", True),
        ("GNU", "13.3.0", "x86_64", False),
        ("GNU", "14.1.0", "x86_64", False),
        ("Clang", "12.0.1", "x86_64", False),
        ("AppleClang", "13.0.0", "arm64", False),
    ],
)
def test_amx_is_left_out_for_compilers_that_compile_it_wrongly(
    tmp_path: Path, compiler: str, version: str, processor: str, *, without_amx: bool
) -> None:
    script = tmp_path / "show.cmake"
    script.write_text(SHOW_OPTIONS)
    values = {
        "FILE": CMAKE_FILE,
        "CMAKE_CXX_COMPILER_ID": compiler,
        "CMAKE_CXX_COMPILER_VERSION": version,
        "CMAKE_SYSTEM_PROCESSOR": processor,
    }
    ran = run("cmake", *(f"-D{name}={value}" for name, value in values.items()), "-P", script)
    assert ran.returncode == 0, ran.stderr
    assert "common: OFF, mtmd: OFF" in ran.stderr
    options = [line for line in ran.stderr.split("\n") if line.startswith("options: ")]
    expected = [f"options: $<$<COMPILE_LANGUAGE:C,CXX>:{';'.join(WITHOUT_AMX)}>"] if without_amx else []
    assert options == expected


# The relevant parts of llama-cpp-python 0.3.36 and its llama.cpp: the order of options, forced entries and projects.
OUTER = """
cmake_minimum_required(VERSION 3.21)
project(llama_cpp)
option(LLAVA_BUILD "" ON)
set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
add_subdirectory(llama.cpp)
if(LLAVA_BUILD)
  message(STATUS "builds mtmd")
endif()
"""
INNER = """
cmake_minimum_required(VERSION 3.14...3.28)
project("llama.cpp" C CXX)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
option(LLAMA_BUILD_COMMON "" OFF)
if(LLAMA_BUILD_COMMON)
  message(STATUS "builds common")
endif()
add_library(ggml STATIC ggml.c ggml.cpp)
"""


@needs_cmake
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("ours", [True, False])
def test_the_file_is_included_in_the_projects_of_llama_cpp(tmp_path: Path, *, ours: bool) -> None:
    inner = tmp_path / "llama.cpp"
    inner.mkdir()
    (tmp_path / "CMakeLists.txt").write_text(OUTER)
    (inner / "CMakeLists.txt").write_text(INNER)
    (inner / "ggml.c").touch()
    (inner / "ggml.cpp").touch()
    # The compiler is this machine's own; the version of Debian 12's is pretended.
    named = tmp_path / "named.cmake"
    named.write_text(
        "set(CMAKE_CXX_COMPILER_ID GNU)\nset(CMAKE_CXX_COMPILER_VERSION 12.2.0)\nset(CMAKE_SYSTEM_PROCESSOR x86_64)\n"
        f'include("{CMAKE_FILE}")\n'
    )
    options = [f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={named}"] if ours else []
    ran = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", *options)
    assert ran.returncode == 0, ran.stderr
    assert ("builds mtmd" in ran.stdout, "builds common" in ran.stdout) == (not ours, not ours)
    for entry in json.loads((tmp_path / "build" / "compile_commands.json").read_text()):
        command = shlex.split(entry["command"])
        assert [option for option in command if "amx" in option] == (WITHOUT_AMX if ours else [])
