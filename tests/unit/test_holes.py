"""Holes in files of several languages, and the judgement of a suggestion that fills one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench import holes
from starcoder_lsp.cli.bench.eval import Ask, Filled, difference, fill, summary
from starcoder_lsp.cli.bench.holes import (
    BLOCK,
    INSIDE_LINE,
    MID_WORD,
    REST_OF_LINE,
    Hole,
    closers,
    cut_holes,
    read_sources,
)
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.settings import Settings

ROOT = Path(__file__).parents[2]
PYTHON = "def area(scale, name):\n    if scale > 1:\n        name = str(name)\n    return draw(scale, [name])\n"
JAVASCRIPT = "function area(scale) {\n  if (scale > 1) {\n    scale = half(scale);\n  }\n  return [scale];\n}\n"
RUBY = "def area(scale)\r\n  if scale > 1\r\n    scale = half(scale)\r\n  end\r\n  draw([scale])\r\nend\r\n"
PERL = (
    'sub area {\n\tmy ($scale) = @_;\n\tif ($scale > 1) {\n\t\t$scale = half("é", $scale);\n\t}\n\treturn $scale;\n}\n'
)
TEXTS = {"area.py": PYTHON, "area.js": JAVASCRIPT, "area.rb": RUBY, "area.pl": PERL}


def cut(folder: Path, n_holes: int = 300, seed: int = 0) -> list[Hole]:
    return cut_holes(read_sources([folder], Settings(), seed), n_holes, seed)


def source_names(folder: Path, settings: Settings | None = None) -> set[str]:
    return {source.path.name for source in read_sources([folder], settings or Settings(), 0)}


def scripted_answer(text: str, n_replaced: int = 0) -> Ask:
    async def ask(snapshot: Snapshot, cursor_byte: int, _around: WorkspaceContext) -> Completion:
        return Completion(snapshot, cursor_byte, (Item(text, n_replaced),) if text else ())

    return ask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


# Cutting


def test_before_hidden_and_after_together_are_the_file(folder: Path) -> None:
    found = cut(folder)
    assert {hole.path.name for hole in found} == set(TEXTS)
    assert {hole.kind for hole in found} == {REST_OF_LINE, MID_WORD, INSIDE_LINE, BLOCK}
    for hole in found:
        assert hole.before + hole.hidden + hole.after == TEXTS[hole.path.name]
        assert hole.hidden == hole.hidden.rstrip() != ""
        is_code_behind = hole.after.partition("\n")[0].strip() != ""
        assert is_code_behind == (hole.kind == INSIDE_LINE)
        assert all(closer in hole.hidden for closer in hole.closed)
        assert hole.root == folder


def test_each_kind_of_hole_is_at_its_kind_of_place(folder: Path) -> None:
    for hole in cut(folder):
        line_before = hole.before.rpartition("\n")[2]
        if hole.kind == BLOCK:
            assert line_before.strip() == ""
            assert not hole.after.startswith(("\n\n", "\r\n\r\n"))
        else:
            assert "\n" not in hole.hidden
            assert line_before.strip()
            is_in_word = (hole.before[-1] + hole.hidden[0]).isidentifier() and hole.hidden[0] != "$"
            assert is_in_word == (hole.kind == MID_WORD) or hole.hidden[0].isdigit()


def test_blocks_are_bodies_of_scopes(folder: Path) -> None:
    blocks = {(hole.path.suffix, hole.hidden) for hole in cut(folder) if hole.kind == BLOCK}
    assert blocks == {
        (".py", PYTHON.partition("\n    ")[2].rstrip()),
        (".py", "name = str(name)"),
        (".js", "if (scale > 1) {\n    scale = half(scale);\n  }\n  return [scale];"),
        (".js", "scale = half(scale);"),
        (".rb", "if scale > 1\r\n    scale = half(scale)\r\n  end\r\n  draw([scale])"),
        (".rb", "scale = half(scale)"),
        (".pl", PERL.partition("\t")[2].removesuffix("\n}\n")),
        (".pl", '$scale = half("é", $scale);'),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "def f():\n" + "    x = 1\n" * 11),
        ("a.py", "def f():\n    x = 1\n\n" + "    x = 1\n" * 10),
        ("a.py", 'def f():\n    """Do."""\n    x = 1\n'),
        ("a.py", "def f():\n    # what it does\n    x = 1\n"),
        ("a.py", "def f():\n\n    x = 1\n"),
        ("a.py", "f(\n    x,\n)\n"),
        ("a.py", 's = """\nwith this:\n    text\n"""\n'),
        ("a.js", "const a = {\n  b: 1,\n};\nf({\n  c: [1],\n});\n"),
        ("a.py", "if x:"),
        ("a.py", "if x:\npass\n"),
    ],
)
def test_some_bodies_are_no_blocks(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert BLOCK not in {hole.kind for hole in cut(tmp_path)}


def test_comments_long_strings_and_generated_lines_have_no_holes(tmp_path: Path) -> None:
    prose = '"""A docstring\nof two lines.\n"""\n# a comment\nx = 1  # another\n' + f"x = {[*range(100)]}\n" + "\n)\n"
    (tmp_path / "a.py").write_text(prose)
    (tmp_path / "b.c").write_text("/* A comment\nof two lines */\n")
    assert cut(tmp_path) == []


def test_a_seed_cuts_the_same_holes_in_any_folder(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    for name, text in TEXTS.items():
        (other / name).write_bytes(text.encode())
    first, again, moved, third = cut(folder), cut(folder), cut(other, seed=0), cut(other, seed=1)
    assert first == again
    assert len(cut(other, 10)) == 10
    assert [(h.before, h.closed) for h in moved] != [(h.before, h.closed) for h in third]


def test_each_kind_gets_a_quarter_of_the_holes() -> None:
    n_of_kind = {BLOCK: 10, MID_WORD: 10, INSIDE_LINE: 10, REST_OF_LINE: 11}
    assert Counter(hole.kind for hole in cut(ROOT / "starcoder_lsp", 41)) == n_of_kind


@pytest.mark.parametrize(
    ("line", "closed"),
    [
        ("foo(█a)", ")"),
        ("foo(bar(█a), b)", "))"),
        ("foo(a[█1], {b})", "])"),
        ("foo(bar(a)█, b)", ")"),
        ("foo(a)█ + 1", ""),
        ("foo(█a,", ""),
        ("x = [█", ""),
        (')"a█b"]', '"'),
        ('f("a█b", c)', '")'),
        ("f('''a█b''')", "''')"),
        (r"f('it\'█s')", "')"),
        ('f("a)█(")', '")'),
        ("fn f<'a>(x: &'a str█, y: T)", ")"),
        ("don't (█x)", ")"),
    ],
)
def test_closing_characters_that_an_editor_would_insert(line: str, closed: str) -> None:
    before, _, after = line.partition("█")
    assert closers(before + after, len(before)) == closed


@given(st.text("()[]{}\"'`a\\ ", max_size=30), st.integers(0, 30))
def test_closing_characters_are_found_behind_the_column(code: str, column: int) -> None:
    rest = iter(code[column:])
    assert all(closer in rest for closer in closers(code, column))


# Choosing files


def test_ignored_secret_binary_and_generated_files_are_left_out(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".gitignore").write_text("built/\nignored.py\n")
    for name in (
        "built/a.py",
        ".git/a.py",
        ".ssh/a.py",
        "deep/down/a.go",
        "ignored.py",
        "secrets.py",
        "b.json",
        "c.md",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    (folder / "broken.py").write_bytes(b"\xff")
    (folder / "binary.py").write_bytes(b"x\0")
    (folder / "dangling.py").symlink_to(folder / "nothing.py")
    assert source_names(folder) == {*TEXTS, "a.go", ".gitignore"}
    assert source_names(folder, configured(None, ['disabledGlobs=["*.rb"]', 'languages=["ruby", "perl"]'])) == {
        "area.pl"
    }
    (source,) = read_sources([folder / "deep"], Settings(), 0)
    assert source.root == folder


def test_a_named_file_is_taken_even_if_ignored_and_only_once(folder: Path) -> None:
    (folder / "notes").write_text("some words here\n")
    (folder / ".gitignore").write_text("notes\n")
    sources = read_sources([folder / "notes", folder, folder / "area.py", folder / "notes"], Settings(), 0)
    assert sorted(source.path.name for source in sources) == sorted([*TEXTS, ".gitignore", "notes"])
    assert cut_holes(read_sources([folder / "notes"], Settings(), 0), 5, 0)


def test_an_unreadable_path_is_an_error(folder: Path) -> None:
    (folder / "binary.py").write_bytes(b"x\0")
    for name, words in {"missing": "No such file", "binary.py": "NUL"}.items():
        with pytest.raises(CommandError, match=words):
            read_sources([folder / name], Settings(), 0)


def test_the_numbers_of_files_and_lines_are_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "MAX_FILES", 2)
    monkeypatch.setattr(holes, "MAX_LINES", 1)
    assert len(source_names(folder)) == 2
    assert len({hole.before.count("\n") for hole in cut(folder) if hole.kind != BLOCK}) <= 2


# Judging suggestions


HOLE = Hole(REST_OF_LINE, None, Path("/a.py"), "x = 1\ny = f(g(", "x), 2)", "\nprint(y)\n", "))")
BODY = Hole(BLOCK, None, Path("/a.py"), "def f(x):\n    ", "y = x\n    return y", "\n\n\nprint(f(1))\n")


@pytest.mark.parametrize(
    ("hole", "text", "n_replaced", "expected"),
    [
        (HOLE, "x), 2)", 2, "exact"),
        (HOLE, "x), 2", 1, "exact"),
        (HOLE, "x), 2)", 0, "error"),
        (HOLE, "x", 0, "other"),
        (HOLE, "x))\nprint(y)", 2, "repeats"),
        (HOLE, "", 0, "withheld"),
        (BODY, "y = x\n    return y\n", 0, "exact"),
        (BODY, "return x", 0, "other"),
        (BODY, "return (x", 0, "error"),
        (BODY, "pass\n\n\nprint(f(1))", 0, "repeats"),
        (Hole(BLOCK, None, Path("/a.nonsense"), "a:\n  ", "b", "\nc"), "b", 0, "exact"),
    ],
)
async def test_a_suggestion_is_judged_by_the_hidden_text_and_by_syntax(
    hole: Hole, text: str, n_replaced: int, expected: str
) -> None:
    filled = await fill(hole, scripted_answer(text, n_replaced))
    assert filled.is_exact == (expected == "exact")
    assert filled.repeats_next_line == (expected == "repeats")
    assert (filled.similarity == 1) == (expected == "exact")
    if hole.path.suffix != ".py" or not text:
        assert filled.adds_no_error is filled.parses_as_before is None
    else:
        assert filled.adds_no_error == filled.parses_as_before == (expected != "error")


async def test_an_error_of_the_original_file_is_not_blamed_on_the_suggestion() -> None:
    hole = Hole(REST_OF_LINE, None, Path("/a.py"), "x = f(", "1)", "\n")
    filled = await fill(hole, scripted_answer("1"))
    assert (filled.adds_no_error, filled.parses_as_before) == (True, False)


async def test_a_line_that_also_stands_in_the_hidden_text_is_no_repetition() -> None:
    hole = Hole(BLOCK, None, Path("/a.py"), "if x:\n    ", "return 1", "\nreturn 1\n")
    assert not (await fill(hole, scripted_answer("return 1"))).repeats_next_line
    assert (await fill(hole, scripted_answer("return 1\nreturn 1"))).repeats_next_line


async def test_a_summary_has_shares_of_the_shown_suggestions() -> None:
    filled = [await fill(HOLE, scripted_answer(*each)) for each in [("x), 2)", 2), ("x), 2)",), ("",), ("x), 2)", 2)]]
    row = summary(filled)
    assert (row["holes"], row["exact"], row["withheld"]) == (4, 0.5, 0.25)
    assert (row["addsNoError"], row["parsesAsBefore"], row["repeatsNextLine"]) == (0.6667, 0.6667, 0)
    assert summary([]) == {"holes": 0}
    assert summary([filled[2]])["addsNoError"] is None


async def test_a_difference_is_computed_hole_by_hole() -> None:
    right, wrong = await fill(HOLE, scripted_answer("x), 2)", 2)), await fill(HOLE, scripted_answer(""))
    gained: list[Filled] = [right, right, right, wrong]
    row = difference([right, right, wrong, wrong], gained)
    assert (row["exact"], row["exactStandardError"]) == (0.25, 0.2165)
    assert difference(gained, gained)["exactStandardError"] == 0
    assert difference([], []) == {"holes": 0}
