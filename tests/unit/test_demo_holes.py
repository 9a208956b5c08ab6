"""The holes on which the demonstrator is measured: by syntax, across files, and how the model fills them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_model import evaluate, scoring, syntax_holes
from demo_model.cross_file import pick_cross_file_holes
from demo_model.holes import Hole, SourceFile, pick_holes, read_held_out
from starcoder_lsp.documents.languages import language_for, load_grammar
from starcoder_lsp.documents.parsing import parse
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text
from starcoder_lsp.engine.host.ladder import Caution

SOURCES = {
    "python": "class A:\n    def run(a):\n        if a > b and c:\n            go(a, b)\n            return é\n"
    "        for x in find(a):\n            pass\n        while q(1):\n            w\n",
    "javascript": "function run(a) {\n  if (a > b) {\n    go(a, b);\n  }\n  for (const x of find(a)) {\n    z;\n  }\n"
    "  while (q(1)) {\n    w;\n  }\n}\n",
    "typescript": "class A {\n  run(a: number): void {\n    if (a > b) {\n      go(a, b);\n    }\n"
    "    for (const x of find(a)) {\n      z;\n    }\n    while (q(1)) {\n      w;\n    }\n  }\n}\n",
    "java": "class A {\n  void run(int a) {\n    if (a > b) {\n      go(a, b);\n    }\n    for (int x : find(a)) {\n"
    "      z();\n    }\n    while (q(1)) {\n      w();\n    }\n  }\n}\n",
    "c": "void run(int a) {\n  if (a > b) {\n    go(a, b);\n  }\n  while (find(a)) {\n    z();\n  }\n"
    "  do {\n    w();\n  } while (q(1));\n}\n",
    "cpp": "void run(int a) {\n  if (a > b) {\n    go(a, b);\n  }\n  for (auto x : find(a)) {\n    z();\n  }\n"
    "  while (q(1)) {\n    w();\n  }\n}\n",
    "csharp": "class A {\n  void run(int a) {\n    if (a > b) {\n      go(a, b);\n    }\n"
    "    foreach (var x in find(a)) {\n      z();\n    }\n    while (q(1)) {\n      w();\n    }\n  }\n}\n",
    "go": "package a\n\nfunc run(a int) {\n\tif x := y; a > b {\n\t\tgo_(a, b)\n\t}\n\tfor _, v := range find(a) {\n"
    "\t\tz()\n\t}\n\tfor ; q(1) == 2; {\n\t\tw()\n\t}\n}\n",
    "rust": "fn run(a: i32) {\n    if a > b {\n        go(a, b);\n    }\n    for x in find(a) {\n        z();\n    }\n"
    "    while q(1) {\n        w();\n    }\n}\n",
    "ruby": "class A\n  def run(a)\n    if a > b\n      go(a, b)\n    end\n    for x in find(a)\n      z\n    end\n"
    "    while q(1)\n      w\n    end\n  end\nend\n",
    "php": "<?php\nfunction run($a) {\n    if ($a > 1) {\n        go($a, 2);\n    }\n    while (find($a)) {\n"
    "        z();\n    }\n    while (q(1)) {\n        w();\n    }\n}\n",
    "shellscript": 'run() {\n  if [ -f "$x" ]; then\n    go a b\n  fi\n  for x in $(find a); do\n    z $x\n  done\n'
    "  while read -r q; do\n    w\n  done\n}\n",
}
"""A function with a branch and two loops in each language."""
DO_NOTHING = {"python": "{}pass"}
"""The statement that an emptied block needs."""
PACKAGE = [
    SourceFile(
        "p",
        "p/shapes.py",
        "class Circle:\n    def enlarge_by(self):\n        pass\n\ndef draw_all(shapes):\n    pass\n",
    ),
    SourceFile(
        "p", "p/main.py", "from shapes import Circle\n\ndef main():\n    c = Circle()\n    c.enlarge_by()\n    main()\n"
    ),
    SourceFile("p", "p/other.py", "def unlike(a):\n    return a\n"),
]


@pytest.fixture(scope="module")
def model(caution: Caution) -> scoring.Model:
    if not evaluate.DEFAULT_MODEL.exists():
        pytest.skip(f"{evaluate.DEFAULT_MODEL.name} is not built: see demo_model/README.md")
    return scoring.Model(evaluate.DEFAULT_MODEL, n_threads=1, lays_out_anew=caution < Caution.PLAIN_WEIGHTS)


def holes_in(text: str, language: str, kind: str) -> list[Hole]:
    return [syntax_holes.cut_out(text, span) for span in syntax_holes.spans_of(text, language)[kind]]


def hidden_texts(language: str, kind: str) -> list[str]:
    return [hole.middle for hole in holes_in(SOURCES[language], language, kind)]


def has_error(text: str, language: str) -> bool:
    grammar = load_grammar(language_for(language, ""))
    assert grammar is not None
    tree = parse(grammar, text.encode(), None, 60_000)
    assert tree is not None
    return tree.root_node.has_error


def definitions(text: str, language: str) -> list[str]:
    return [scope.name for scope in Syntax.parse_fresh(language_for(language, ""), Text.from_str(text)).definitions()]


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize("kind", syntax_holes.KINDS)
def test_prefix_hole_and_suffix_together_are_the_file(language: str, kind: str) -> None:
    holes = holes_in(SOURCES[language], language, kind)
    assert holes or (language, kind) == ("shellscript", "call")
    assert len(set(holes)) == len(holes)
    for hole in holes:
        assert hole.prefix + hole.middle + hole.suffix == SOURCES[language]
        assert hole.middle.strip()


@pytest.mark.parametrize("language", SOURCES)
def test_a_block_is_whole_lines_of_a_body_and_removing_it_keeps_the_structure(language: str) -> None:
    source = SOURCES[language]
    assert not has_error(source, language)
    blocks = holes_in(source, language, "block")
    assert len(blocks) >= (3 if language == "shellscript" else 4), "the function, the branch and both loops"
    for hole in blocks:
        assert hole.prefix.endswith("\n")
        assert hole.suffix.startswith("\n")
        assert hole.middle.count("\n") < syntax_holes.MAX_BLOCK_LINES
        indent = hole.middle[: len(hole.middle) - len(hole.middle.lstrip())]
        emptied = hole.prefix + DO_NOTHING.get(language, "").format(indent) + hole.suffix
        assert not has_error(emptied, language)
        assert definitions(emptied, language) == definitions(source, language)


def test_a_body_with_declarations_is_no_block() -> None:
    assert not any("run" in middle for language in SOURCES for middle in hidden_texts(language, "block"))


def test_a_body_with_too_many_lines_is_no_block() -> None:
    lines = "".join(f"    line({n})\n" for n in range(syntax_holes.MAX_BLOCK_LINES))
    assert len(holes_in(f"def run():\n{lines}", "python", "block")) == 1
    assert holes_in(f"def run():\n{lines}    x\n", "python", "block") == []


def test_control_holes_are_conditions_and_iterated_expressions() -> None:
    assert hidden_texts("python", "control") == ["a > b and c", "find(a)", "q(1)"]
    for language in ("javascript", "typescript", "java", "cpp", "csharp", "rust", "ruby"):
        assert hidden_texts(language, "control") == ["a > b", "find(a)", "q(1)"]
    assert hidden_texts("c", "control") == ["a > b", "find(a)", "q(1)"]
    assert hidden_texts("go", "control") == ["a > b", "find(a)", "q(1) == 2"]
    assert hidden_texts("php", "control") == ["$a > 1", "find($a)", "q(1)"]
    assert hidden_texts("shellscript", "control") == ['[ -f "$x" ]', "$(find a)", "read -r q"]
    assert holes_in("x = [y for y in find(a) if y.is_good] if y.is_bad else 1\n", "python", "control") == []


def test_call_holes_have_arguments_and_one_line() -> None:
    assert hidden_texts("python", "call") == ["go(a, b)", "find(a)", "q(1)"]
    assert hidden_texts("java", "call") == ["go(a, b)", "find(a)", "q(1)"]
    assert holes_in("run()\nself.run(\n    1,\n)\nself.run(1).walk(2)\n", "python", "call") == [
        Hole("run()\nself.run(\n    1,\n)\n", "self.run(1).walk(2)", "\n"),
        Hole("run()\nself.run(\n    1,\n)\n", "self.run(1)", ".walk(2)\n"),
    ]


@given(st.text(st.sampled_from("ab \n:{}()if;\té#"), max_size=120), st.sampled_from(sorted(SOURCES)))
def test_holes_of_any_text_are_parts_of_it(text: str, language: str) -> None:
    for kind in syntax_holes.KINDS:
        for hole in holes_in(text, language, kind):
            assert hole.prefix + hole.middle + hole.suffix == text
            assert hole.middle.strip()


def test_a_language_without_a_grammar_has_no_holes_by_syntax() -> None:
    assert syntax_holes.pick_syntax_holes(["if (a > b) {\n  c;\n}\n"], "no-such-language", "block", 5, 0) == []


def test_a_seed_draws_the_same_holes_and_few_of_each_file() -> None:
    texts = [SOURCES["python"].replace("é", name) for name in "rstuv"]
    picked = syntax_holes.pick_syntax_holes(texts, "python", "block", 10, 3)
    assert len(picked) == 10
    assert picked == syntax_holes.pick_syntax_holes(texts, "python", "block", 10, 3)
    sources = [hole.prefix + hole.middle + hole.suffix for hole in picked]
    assert max(map(sources.count, sources)) <= syntax_holes.HOLES_A_FILE


def test_comments_of_the_language_are_no_lines_of_code() -> None:
    texts = ["// one\n# two\nthree\n"]
    assert {hole.middle for hole in pick_holes(texts, "whole_line", 9, 0, "//")} == {"# two", "three"}
    assert {hole.middle for hole in pick_holes(texts, "whole_line", 9, 0, None)} == {"// one", "# two", "three"}


def test_held_out_rows_may_name_their_language(tmp_path: Path) -> None:
    rows = [
        ["p", "a.py", "x = 1\n" * 9],
        ["p", "b.js", "let x;\n" * 9, "javascript"],
        ["p", "c.go", "var x\n" * 9, "go"],
    ]
    path = tmp_path / "held_out.json"
    path.write_text(json.dumps(rows))
    files = read_held_out(path)
    assert [(file.path, file.language) for file in files] == [
        ("a.py", "python"),
        ("b.js", "javascript"),
        ("c.go", "go"),
    ]
    assert [file.text[:5] for file in files] == ["x = 1", "let x", "var x"]


# Holes across files


def test_a_cross_file_hole_has_a_name_that_only_another_file_defines() -> None:
    holes = pick_cross_file_holes(PACKAGE, 9, 0)
    assert {(hole.file.path, hole.name, hole.hole.middle) for hole in holes} == {
        ("p/main.py", "Circle", "    c = Circle()"),
        ("p/main.py", "enlarge_by", "    c.enlarge_by()"),
    }
    for hole in holes:
        assert hole.hole.prefix + hole.hole.middle + hole.hole.suffix == hole.file.text
        assert hole.other is PACKAGE[0]
        assert hole.name in hole.other.text[hole.defined_at :].split("\n")[0]
        assert hole.unrelated is PACKAGE[2]


def test_a_name_that_two_files_define_makes_no_cross_file_hole() -> None:
    twice = [*PACKAGE, SourceFile("p", "p/more.py", "class Circle:\n    def enlarge_by(self):\n        pass\n")]
    assert pick_cross_file_holes(twice, 9, 0) == []


def test_a_file_of_another_folder_must_be_imported() -> None:
    far = [SourceFile("p", "q/shapes.py", PACKAGE[0].text), PACKAGE[1]]
    assert len(pick_cross_file_holes(far, 9, 0)) == 2
    unlinked = [far[0], SourceFile("p", "p/main.py", PACKAGE[1].text.partition("\n")[2])]
    assert pick_cross_file_holes(unlinked, 9, 0) == []


# Filling holes


def test_a_block_ends_where_a_line_is_less_indented() -> None:
    assert scoring.block_alone("    a\n\n        b\n  c\n    d") == "    a\n\n        b"
    assert scoring.block_alone("a\nb\n") == "a\nb\n"
    assert scoring.block_is_over(b"    a\n  ") is False, "the line may go on with more white space"
    assert scoring.block_is_over(b"    a\n  c") is True
    assert scoring.block_is_over(b"    a\n      c") is False


@given(st.lists(st.sampled_from(["  a", "    b", "", "c"]), min_size=1))
def test_trailing_blanks_are_ignored(lines: list[str]) -> None:
    text = "\n".join(lines)
    answer = scoring.Answer(Hole("", text, ""), "\n".join(line + "  " for line in lines) + "\n\n", -1.0)
    assert answer.is_exact
    assert answer.similarity == 1.0


def test_the_common_beginning_of_prompts_is_evaluated_once(model: scoring.Model) -> None:
    ids = model.ids("def read(path):\n    return open(path)\n")
    alone = model.decode(ids, 0, 2)
    model.evaluate([*ids[:4], *model.ids("something else")], 1)
    again = model.evaluate(ids, 2)
    assert model.held == ids
    assert again == pytest.approx(alone, abs=1e-2)


def test_layouts_that_share_a_prompt_answer_as_each_alone(model: scoring.Model) -> None:
    hole = Hole("import os\n\n\ndef read(path):\n    with op", "en(path) as file:", "\n        return file.read()\n")
    together = scoring.fill(model, hole, ["anchored", "psm"])
    for layout, answer in zip(["anchored", "psm"], together, strict=True):
        (alone,) = scoring.fill(model, hole, [layout])
        assert alone.log_probability == pytest.approx(answer.log_probability, abs=0.5)


def test_kinds_of_holes_are_filled_in_rounds_until_the_time_limit(model: scoring.Model) -> None:
    files = [*PACKAGE, SourceFile("p", "p/long.py", SOURCES["python"])]
    cells = evaluate.cells_of(files, 2, seed=0)
    assert {cell.kind for cell in cells} == {*evaluate.LAYOUTS, evaluate.CROSS_FILE}
    evaluate.fill_in_rounds(model, cells, 2, math.inf)
    report = evaluate.LanguageReport.of(cells, (1.0, 0.5))
    assert {figures.n_holes for figures in report.holes.values()} == {2}
    assert all(figures.log_probability_per_character < 0 for figures in report.holes.values())
    assert report.cross_file is not None
    assert report.cross_file.n_holes == 2
    assert math.isfinite(report.cross_file.nats_over_unrelated)
    assert "| python | block, anchored | 2 |" in evaluate.table({"python": report})
    assert "| python | 2 |" in evaluate.text_table({"python": report})
    fresh = evaluate.cells_of(files, 2, seed=0)
    evaluate.fill_in_rounds(model, fresh, 2, deadline_s=0.0)
    assert not any(cell.answers or cell.costs for cell in fresh)


def test_the_other_file_comes_first_as_in_training(model: scoring.Model) -> None:
    text = "".join(f"def name_{n}():\n    return {n}\n" for n in range(400))
    at = text.index("def name_300")
    head = scoring.repository_head(model, SourceFile("pkg", "pkg/a.py", text), at)
    repository, separator = model.markers["<repo_name>"], model.markers["<file_sep>"]
    assert (head[0], head[-1], head.count(separator)) == (repository, separator, 2)
    shown = model.text(head)
    assert shown.startswith("pkgpkg/a.py\ndef name_") or "pkg/a.py\n    return" in shown
    assert "def name_300():" in shown
    assert len(head) <= scoring.N_OTHER_TOKENS + 40
