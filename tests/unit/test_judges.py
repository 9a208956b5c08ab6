"""The benchmark's rules for doubled words, loops and faults, each with cases of both verdicts."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from starcoder_lsp.documents.languages import language_for

JUDGES = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "judges.py"))
doubles_a_word, loops, n_faults = JUDGES["doubles_a_word"], JUDGES["loops"], JUDGES["n_faults"]


@pytest.mark.parametrize(
    ("place", "written", "is_doubled"),
    [
        ("x = sum(val|ues)", "ues", True),
        ("import nu|mpy as np", "mpy as np", True),
        ("print(ind|ex, index)", "ex, index", True),
        ("foo(|index)", "index", True),
        ("foo(|index)", "key, ", False),
        ("x = get|Name()\ny = getUserName()", "User", False),
        ("x = |", "value", False),
        ("x = a|)", "b", False),
        ("if |value:", "not ", False),
        ("if |value:", "not", True),
    ],
)
def test_a_doubled_word_is_recognized(place: str, written: str, *, is_doubled: bool) -> None:
    before, _, after = place.partition("|")
    assert doubles_a_word(before, written, after) == is_doubled


@pytest.mark.parametrize(
    ("place", "written", "is_loop"),
    [
        ("x = [|]", "1, 1, 1, 1, 1, 1", True),
        ("x = |", 'a + ")" + ")" + ")" + ")" + ")"', True),
        ("x = [|]", "'', '', '', '', ''", True),
        ("a <|", "<<<<", True),
        ("i|", "++++++++", True),
        ("y = f(x) + xp.is_real(x) + xp.is_real(x)|", " + xp.is_real(x)", True),
        ("|", "a()\na()\na()", True),
        ("x = [\n  [1, 1, 1, 1, 1],\n  [|]\n]", "1, 1, 1, 1, 1", False),
        ("|", "# ----------------------", False),
        ("a {|}", "margin: 0 0 0 0;", False),
        ("f(g(h(|", "x))))", False),
        ("x = |", "[0, 1, 2, 3, 4]", False),
    ],
)
def test_a_loop_is_recognized(place: str, written: str, *, is_loop: bool) -> None:
    before, _, after = place.partition("|")
    assert loops(before, written, after) == is_loop


@pytest.mark.parametrize(
    ("language", "code", "n"),
    [
        ("python", "x = 1\n", 0),
        ("python", "f(a=1, b)\n", 1),
        ("javascript", "f(1);\n", 0),
        ("javascript", "f(1;\n", 1),
        ("c", "int a;\n", 0),
        ("plaintext", "f(", None),
    ],
)
def test_the_faults_of_a_file_are_counted(language: str, code: str, n: int | None) -> None:
    assert n_faults(language_for(language, ""), code) == n
