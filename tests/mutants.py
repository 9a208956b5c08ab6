"""Try a random sample of mutants of some modules: `python -m tests.mutants MODULE.py... [--n N] [--seed N]`.

mutmut makes the mutants. Each runs in a process of its own, against the tests that import its module, and `--tests`.
Survivors are printed as diffs. Ends after some seconds a mutant; `mutmut run` first runs every test several times.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.abc
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[1]
MODULE, SOURCE = "STARCODER_MUTANT_MODULE", "STARCODER_MUTANT_SOURCE"
"""The variables by which pytest's process gets the mutated module's name, and the file with its source."""
TIMEOUT_FACTOR = 10
"""A mutant counts as killed if its tests take this many times as long as all tests without a mutant."""


class MutantLoader(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Loads one module from another source, under its own path."""

    def __init__(self, name: str, source: Path) -> None:
        self.name, self.source = name, source

    def find_spec(self, fullname, _path, _target=None):
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, path_of(fullname), loader=self)

    def get_source(self, _fullname):
        return self.source.read_text("utf-8")


def path_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


if os.environ.get(MODULE):  # this process is a mutant's: pytest imports this file first, by `-p tests.mutants`
    sys.meta_path.insert(0, MutantLoader(os.environ[MODULE], Path(os.environ[SOURCE])))


@frozen
class Mutant:
    """A module with one change. `source` is the whole mutated file."""

    path: Path
    source: str

    @property
    def module(self) -> str:
        return ".".join(self.path.with_suffix("").parts)

    def diff(self) -> str:
        lines = [(ROOT / self.path).read_text("utf-8").splitlines(), self.source.splitlines()]
        return "\n".join(difflib.unified_diff(*lines, str(self.path), "mutant", lineterm="", n=1))


class Mutants:
    """The mutants of the functions in a module, each made on demand, which takes a tenth of a second."""

    def __init__(self, path: Path) -> None:
        from mutmut.mutation.file_mutation import create_mutations

        self.path = path
        self._module, mutations, *_ = create_mutations(str(path), (ROOT / path).read_text("utf-8"))
        self._mutations = [each for each in mutations if each.contained_by_top_level_function is not None]

    def __len__(self) -> int:
        return len(self._mutations)

    def __getitem__(self, number: int) -> Mutant:
        from mutmut.mutation.file_mutation import deep_replace

        mutation = self._mutations[number]
        mutated = deep_replace(self._module, mutation.original_node, mutation.mutated_node)
        return Mutant(self.path, mutated.code)


def tests_of(path: Path) -> list[str]:
    """Return the unit and golden tests that import a module, the one with its name first."""
    name = ".".join(path.with_suffix("").parts)
    package, _, stem = name.rpartition(".")
    found = [
        test
        for test in [*ROOT.glob("tests/unit/**/test_*.py"), *ROOT.glob("tests/golden/test_*.py")]
        if f"from {name} import" in (text := test.read_text("utf-8")) or f"from {package} import {stem}\n" in text
    ]
    return [str(test.relative_to(ROOT)) for test in sorted(found, key=lambda test: test.stem != f"test_{stem}")]


def is_killed(mutant: Mutant | None, tests: Sequence[str], timeout_s: float | None = None) -> bool:
    """Run tests with a mutant, or with none; return whether one fails or the time is over."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutants", "-p", "no:xdist"]
    command += ["-p", "no:cacheprovider", "-p", "no:rerunfailures", "--hypothesis-profile", "few", *tests]
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if mutant is not None:
            source = Path(folder, "mutant.py")
            source.write_text(mutant.source, "utf-8")
            environment |= {MODULE: mutant.module, SOURCE: str(source)}
        try:
            ended = subprocess.run(  # noqa: S603  our own command
                command, cwd=ROOT, env=environment, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return True
    return bool(ended.returncode)


def main() -> int:
    """Try the mutants; return 1 if the tests fail without one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", type=Path, nargs="+", help="paths from the repository's root")
    parser.add_argument("--n", type=int, default=50, help="the number of mutants, of all modules together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="+", default=[], help="tests beside those that import the module")
    arguments = parser.parse_args()
    mutants = [(each, number) for each in map(Mutants, arguments.modules) for number in range(len(each))]
    sample = random.Random(arguments.seed).sample(mutants, min(arguments.n, len(mutants)))
    suites = {path: [*dict.fromkeys((*tests_of(path), *arguments.tests))] for path in arguments.modules}
    untested = [str(path) for path, tests in suites.items() if not tests]
    if untested:
        print(f"no test imports {', '.join(untested)}: name some by --tests")
        return 1
    started_s = time.monotonic()
    if is_killed(None, list(dict.fromkeys(test for tests in suites.values() for test in tests))):
        print("the tests fail without a mutant")
        return 1
    timeout_s = TIMEOUT_FACTOR * (time.monotonic() - started_s)
    n_survivors = 0
    for number, (of_module, index) in enumerate(sample, 1):
        mutant = of_module[index]
        killed = is_killed(mutant, suites[mutant.path], timeout_s)
        n_survivors += not killed
        print(f"{number}/{len(sample)} {mutant.path}: {'killed' if killed else 'SURVIVED'}", flush=True)
        if not killed:
            print(mutant.diff(), flush=True)
    print(f"{len(sample) - n_survivors} of {len(sample)} killed, of {len(mutants)} mutants; seed {arguments.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
