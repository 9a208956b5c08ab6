"""The checks of the installed llama.cpp: version, CPU, GPU and crashes."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING
from starcoder_lsp.cli.doctor.facts import Facts, Memory
from starcoder_lsp.cli.doctor.gather import cpu_flags, library_of, read_memory
from starcoder_lsp.cli.doctor.installation import check_crashes, check_gpu, check_library, check_programs
from starcoder_lsp.cli.doctor.report import examine
from starcoder_lsp.engine.host.ladder import Caution, LadderFile
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.settings import ModelSettings, Settings
from tests.unit.doctor.machine import BUILD, ITS_CPU, child, one


def test_a_machine_without_faults_has_no_errors(facts: Facts) -> None:
    lines = examine(facts)
    assert {line.state for line in lines} == {OK, WARNING}
    assert all(line.advice for line in lines if line.state != OK)
    assert one(iter(lines), "model").state == WARNING  # since the model is the demonstrator


@pytest.mark.parametrize(
    ("system_info", "flags", "state", "words"),
    [
        (BUILD, ITS_CPU, OK, "built for SSE3 SSSE3 AVX AVX2 F16C FMA BMI2, and this CPU has it"),
        (BUILD, ITS_CPU | {"avx512f", "amx_int8"}, OK, "besides is not used: AVX512 AMX_INT8"),
        (BUILD + "AVX512 = 1 | AMX_INT8 = 1 | ", ITS_CPU, ERROR, "for AVX512 AMX_INT8, which this CPU does not have"),
        (BUILD, ITS_CPU - {"bmi2"}, ERROR, "built for BMI2"),
        (BUILD.replace("AVX2 = 1 | F16C = 1 | FMA = 1 | ", ""), ITS_CPU, WARNING, "without AVX2 F16C FMA"),
        (BUILD, frozenset(), OK, "does not tell"),
        ("CUDA : ARCHS = 890 | CPU : NEON = 1 | SVE = 0 | SVE_CNT = 16 | ", {"asimd"}, OK, "built for NEON, and"),
        ("CPU : NEON = 1 | DOTPROD = 1 | ", {"asimd"}, ERROR, "built for DOTPROD"),
    ],
)
def test_a_build_for_another_cpu_is_reported(
    facts: Facts, system_info: str, flags: Any, state: str, words: str
) -> None:
    library = evolve(facts.library, system_info=system_info)
    check = one(check_library(evolve(facts, library=library, cpu_flags=frozenset(flags))), "CPU")
    assert check.state == state
    assert words in check.found
    assert (state == OK) != check.advice.endswith(f"\n{rebuild_command()}")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12: cannot open"),
        ("print('[1, 2]')", "code 0"),
        ("raise SystemExit(3)", "code 3"),
        ("time.sleep(60)", "not loaded after 1 s"),
    ],
)
def test_a_library_that_does_not_load_is_an_error_with_the_rebuild_command(facts: Facts, code: str, words: str) -> None:
    library = library_of(child(code), 1 if "sleep" in code else 30)
    check = one(check_library(evolve(facts, library=library)), "llama.cpp")
    assert check.state == ERROR
    assert words in check.found
    assert rebuild_command() in check.advice


def test_other_output_of_the_library_is_ignored() -> None:
    library = library_of(child("""print('found 1 device\\n{"systemInfo": "CPU : NEON = 1", "canOffload": true}')"""))
    assert (library.failure, library.system_info, library.can_offload) == ("", "CPU : NEON = 1", True)


@pytest.mark.parametrize(("version", "state"), [("0.3.36", OK), ("0.3.9", WARNING), ("", ERROR)])
def test_another_version_of_the_library_is_reported(facts: Facts, version: str, state: str) -> None:
    changed = evolve(facts, library=evolve(facts.library, version=version))
    assert one(check_programs(changed), "llama-cpp-python").state == state


def test_cpu_flags_and_memory_are_read_from_linux_files(tmp_path: Path) -> None:
    file = tmp_path / "told"
    file.write_text("processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: fp\n")
    assert cpu_flags(file) == {"fp", "asimd"}
    file.write_text("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    500 kB\n")
    assert read_memory(file) == Memory(1000 * 1024, 500 * 1024)
    for nonsense in ("", "MemTotal: many kB\n", "MemAvailable:\nMemTotal: 1 kB\n"):
        file.write_text(nonsense)
        assert read_memory(file) is None
    assert (cpu_flags(tmp_path / "none"), read_memory(tmp_path / "none")) == (frozenset(), None)


@pytest.mark.parametrize(
    ("backends", "offloads", "layers", "has_nvidia", "state", "words"),
    [
        ((), False, -1, False, OK, "without GPU support"),
        ((), False, -1, True, WARNING, "built without CUDA"),
        (("vulkan",), True, -1, True, OK, "(VULKAN): it gets the whole model"),
        (("cuda",), False, -1, True, WARNING, "built for one (CUDA) and finds none"),
        (("cuda",), True, -1, True, OK, "it gets the whole model"),
        (("cuda",), True, 0, True, OK, "none of the model, as model.gpuLayers is 0"),
        ((), True, 7, False, OK, "7 layers"),
    ],
)
def test_use_of_the_gpu_is_reported(
    facts: Facts,
    backends: tuple[str, ...],
    layers: int,
    state: str,
    words: str,
    *,
    offloads: bool,
    has_nvidia: bool,
) -> None:
    library = evolve(facts.library, gpu_backends=backends, can_offload=offloads)
    settings = Settings(model=ModelSettings(gpu_layers=layers))
    changed = evolve(facts, library=library, settings=settings, has_nvidia_gpu=has_nvidia)
    (check,) = check_gpu(changed)
    assert check.state == state
    assert words in check.found
    if "without CUDA" in words:
        assert "-DGGML_CUDA=on" in check.advice.splitlines()[-1]


def test_crashes_are_stored_and_forgotten_by_architecture(tmp_path: Path) -> None:
    ladder = LadderFile(tmp_path / "state" / "ladder.json")
    assert ladder.forget(["starcoder2"]) == 0
    assert not ladder.path.exists()
    ladder.remember("starcoder", Caution.PLAIN_WEIGHTS, crash={"how": "SIGSEGV"})
    ladder.remember("starcoder2", Caution.MINIMAL, crash={"how": "SIGSEGV"})
    at = ladder.entry("starcoder2")["crash"]["at"]
    assert abs(time.time() - datetime.fromisoformat(at).timestamp()) < 60
    assert ladder.forget(["starcoder2", "unknown"]) == 1
    assert ladder.entry("starcoder2") == {}
    assert ladder.caution("starcoder") == Caution.PLAIN_WEIGHTS


@pytest.mark.parametrize("crash", [{}, {"at": "2026-01-02", "stage": "warming up", "how": "x", "words": "GGML"}])
def test_a_crash_stored_by_an_earlier_version_is_shown(facts: Facts, crash: dict[str, str]) -> None:
    entry = {"caution": 1, "kind": "starcoder2", "crash": crash}
    (check,) = check_crashes(evolve(facts, crashes=(entry,)))
    assert check.state == WARNING
    assert "AMX, repacking" in check.found
    assert check.advice.endswith("\nstarcoder-lsp doctor --forget-crashes")
