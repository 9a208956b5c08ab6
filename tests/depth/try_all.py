"""Find what crashes, hangs or outlasts its deadline in the grammars of the pack. For when the pack changes.

    python -m tests.depth.try_all [GRAMMAR ...]

parses every shape of `shapes.py` with every grammar that `languages.toml` names, in processes of their own, and writes
`tests/depth/found.json`: for each grammar the units that ended the process, never returned, or took more than
MAX_OVERTIME times their deadline in CPU time. About an hour on one core.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tree_sitter_language_pack import get_language

from starcoder_lsp.documents.languages import all_languages
from starcoder_lsp.documents.parsing import parse
from tests.depth.shapes import Shape, shapes

FOUND: Final = Path(__file__).parent / "found.json"
DEADLINE_MS: Final = 50.0
MAX_OVERTIME: Final = 8
HANG_S: Final = 60.0
MAX_FAULTS: Final = 60
"""The faults of one grammar after which the search in it ends."""


def try_grammar(name: str, first: int) -> None:
    """Parse each shape from number `first` on, and report before and after each. Runs in a process that may die."""
    grammar = get_language(name)  # type: ignore[arg-type]  # a str from a row
    for number, shape in enumerate(shapes(grammar)):
        if number < first:
            continue
        print(number, flush=True)
        started = time.process_time()  # CPU time does not depend on other work on the machine
        parse(grammar, shape.text(), None, DEADLINE_MS)
        elapsed_ms = (time.process_time() - started) * 1000
        if elapsed_ms > MAX_OVERTIME * DEADLINE_MS:
            print(f"slow {round(elapsed_ms)}", flush=True)
    print("done", flush=True)


def faults_of(name: str) -> list[dict[str, Any]]:
    """Return the faults of one grammar."""
    known = list(shapes(get_language(name)))  # type: ignore[arg-type]  # as above
    faults: list[dict[str, Any]] = []
    first = 0
    while first < len(known) and len(faults) < MAX_FAULTS:
        command = [sys.executable, "-m", __spec__.name, "--child", name, str(first)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 -- this program
        last, how = _follow(child, known, faults)
        if last == "done":
            break
        first = int(last or first) + 1
        faults.append(_fault(known[first - 1], how))
    return faults


def _follow(child: subprocess.Popen[bytes], known: list[Shape], faults: list[dict[str, Any]]) -> tuple[str, str]:
    """Read until the child's end, and return its last report and how it ended."""
    assert child.stdout is not None
    last = ""
    while select.select([child.stdout], [], [], HANG_S)[0]:
        line = child.stdout.readline().decode().strip()
        if not line:
            return last, f"status {child.wait()}"
        if line.startswith("slow"):
            faults.append(_fault(known[int(last)], f"{line.split()[1]} ms"))
        else:
            last = line
    child.kill()
    child.wait()
    return last, f"no end in {HANG_S:.0f} s"


def _fault(shape: Shape, how: str) -> dict[str, Any]:
    return {"unit": shape.unit, "depth": shape.depth, "indented": shape.is_indented, "how": how}


def main(names: list[str]) -> None:
    """Try the grammars of `names`, or all."""
    found = json.loads(FOUND.read_text("utf-8")) if names and FOUND.is_file() else {"faults": {}}
    found["pack"] = version("tree-sitter-language-pack")
    for name in names or sorted({row.grammar for row in all_languages() if row.grammar}):
        faults = faults_of(name)
        found["faults"].pop(name, None)
        if faults:
            found["faults"][name] = faults
        print(name, len(faults), *sorted({f"{fault['unit']!r} {fault['how']}" for fault in faults})[:6], flush=True)
        FOUND.write_text(json.dumps(found, indent=1, ensure_ascii=True, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        try_grammar(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
