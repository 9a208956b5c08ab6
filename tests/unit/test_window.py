"""Windows: properties over odd texts, real files against Python's own parser, and windows while typing."""

from __future__ import annotations

import _pydecimal
import argparse
import ast
import random
import typing
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.new_window import MAX_WHOLE_SUFFIX_TOKENS, MIN_SUFFIX_TOKENS, new_window
from starcoder_lsp.context.outline import Outline
from starcoder_lsp.context.window import Budget, Window, normalized
from starcoder_lsp.documents.documents import Documents, Edit, Snapshot
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.prompting import PromptBuilder
from tests.queries.samples import SAMPLES

ROOT = Path(__file__).parents[2]
PYTHON_FILES = [
    *(Path(module.__file__) for module in (_pydecimal, argparse, typing)),
    ROOT / "starcoder_lsp/documents/syntax.py",
    ROOT / "starcoder_lsp/settings.py",
]
BUDGETS = st.builds(Budget, st.integers(16, 2000), st.floats(0, 0.9))


@pytest.fixture(scope="session")
def tokenizer(prompts: PromptModel) -> Tokenizer:
    """The caching tokenizer of the pipeline."""
    return PromptBuilder.reading(prompts).tokenizer


def opened(text: str, language: str = "python") -> Snapshot:
    return Documents().open("file:///case", language, 1, text)


@cache
def opened_file(path: Path, line_end: str = "\n") -> Snapshot:
    return opened(path.read_text().replace("\n", line_end))


def is_character_start(data: bytes, at: int) -> bool:
    return at >= len(data) or data[at] & 0xC0 != 0x80


def cuts_a_long_line(snapshot: Snapshot, at: int, start: int, end: int) -> bool:
    """Return whether one line takes more than half of the text between `start` and `end`."""
    text = snapshot.text
    line_start, line_end = text.line_span(text.line_of(at))
    return 2 * (min(line_end + 2, end) - max(line_start, start)) >= end - start


def check(window: Window, tokenizer: Tokenizer) -> None:
    text, cursor, anchor = window.snapshot.text, window.cursor_byte, window.anchor_byte
    data, line_starts = text.data, {*text.line_starts, len(text.data)}
    assert window.n_tokens <= window.budget.n_tokens
    for kind in ("prefix", "middle", "suffix"):
        part = getattr(window, kind)
        assert part.ids == tokenizer.encode(part.text)
        assert part.text == b"".join(normalized(data[s.start_byte : s.end_byte]) for s in part.segments)
        assert {s.kind for s in part.segments} <= {kind}
    edges = [e for s in window.prefix.segments for e in (s.start_byte, s.end_byte)]
    assert edges == sorted(edges)
    assert all(s.start_byte < s.end_byte for s in window.prefix.segments)
    assert window.middle.text == normalized(data[anchor:cursor])
    assert text.line_of(anchor) == text.line_of(cursor)
    if anchor not in line_starts:
        assert is_character_start(data, anchor)
    if edges:
        *kept, near, end = edges
        assert end == anchor
        assert is_character_start(data, near)
        assert near in line_starts or cuts_a_long_line(window.snapshot, near, near, anchor)
        assert {*kept} <= line_starts | {near}
    if window.suffix.segments:
        below, *further = window.suffix.segments
        assert all(one.end_byte <= other.start_byte for one, other in pairwise([below, *further]))
        assert below.start_byte == cursor
        assert is_character_start(data, below.end_byte)
        assert below.end_byte in line_starts or cuts_a_long_line(
            window.snapshot, below.end_byte, cursor, below.end_byte
        )
    if is_whole(window):
        assert window.prefix.text + window.middle.text == normalized(data[:cursor])
        assert window.suffix.text == normalized(data[cursor:])
    elif len(data) < 20 * window.budget.n_tokens:
        parts = (data[:anchor], data[anchor:cursor], data[cursor:])
        n_above, n_middle, n_below = (len(tokenizer.encode(normalized(part))) for part in parts)
        assert n_above + n_middle + n_below > window.budget.n_tokens or n_below > MAX_WHOLE_SUFFIX_TOKENS


def is_whole(window: Window) -> bool:
    return (
        sum(s.end_byte - s.start_byte for p in (window.prefix, window.middle, window.suffix) for s in p.segments)
    ) == len(window.snapshot.text.data)


ODD_LINES = st.sampled_from(
    [
        "",
        "import os",
        "from a import (b,",
        "class A: # é",
        "    def f(self):",
        "\tdef g(",
        "\t\treturn '😀😀😀'",
        "        x = [1, 2, {'a': 3}]",
        "}" * 9,
        "((((((((",
        '"""',
        "🏳️‍🌈" * 4,
        "\x01\x02\x7f\x1b[0m\u2028\x0c\ufeff",
        "\ud800 lone",
        " " * 70,
        "a" * 300,
        "é" * 150,
    ]
)
ODD_TEXTS = st.lists(st.tuples(ODD_LINES, st.sampled_from(["\n", "\n", "\r\n", "\r", ""])), max_size=150).map(
    lambda lines: "".join(a + b for a, b in lines)
)


@settings(deadline=None, max_examples=150)
@given(text=ODD_TEXTS, at=st.floats(0, 1), budget=BUDGETS, language=st.sampled_from(["python", "c", "unheard-of"]))
@example(text="", at=0, budget=Budget(16, 0.2), language="python")
@example(text="a\r\n" * 40, at=0.5, budget=Budget(16, 0.0), language="python")
@example(text="x" * 1000, at=1, budget=Budget(16, 0.9), language="unheard-of")
def test_windows_of_any_text_are_valid(
    tokenizer: Tokenizer, text: str, at: float, budget: Budget, language: str
) -> None:
    n_characters = round(at * len(text))
    cursor_byte = len(text[:n_characters].encode("utf-8", "surrogatepass"))
    check(new_window(opened(text, language), cursor_byte, budget, tokenizer), tokenizer)


@settings(deadline=None, max_examples=60)
@given(path=st.sampled_from(PYTHON_FILES), at=st.floats(0, 1), budget=BUDGETS, line_end=st.sampled_from(["\n", "\r\n"]))
def test_windows_of_real_files_are_valid(
    tokenizer: Tokenizer, path: Path, at: float, budget: Budget, line_end: str
) -> None:
    snapshot = opened_file(path, line_end)
    cursor_byte = round(at * len(snapshot.text.data))
    while not is_character_start(snapshot.text.data, cursor_byte):
        cursor_byte += 1
    check(new_window(snapshot, cursor_byte, budget, tokenizer), tokenizer)


LONG_LINES = {
    "letters": "x" * 200_000,
    "words": "let a=b(c);" * 18_000,
    "emoji": "😀" * 50_000,
    "spaces": " " * 200_000,
    "noise": "".join(random.Random(1).choices("".join(map(chr, range(1, 0x250))), k=100_000)).replace("\n", " "),
    "nesting": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("name", LONG_LINES)
@pytest.mark.parametrize("around", ["{}", "a = 1\n" * 50 + "{}\nb = 2\n" + "c = 3\n" * 50])
def test_windows_in_a_line_of_200_kilobytes_are_valid(tokenizer: Tokenizer, name: str, around: str) -> None:
    line = LONG_LINES[name].replace("\r", " ")
    snapshot = opened(around.format(line.replace("{", "(").replace("}", ")")), "javascript")
    data = snapshot.text.data
    for at in (0, len(data) // 2, len(data), *snapshot.text.line_starts[-1:]):
        cursor_byte = next(n for n in range(at, len(data) + 1) if is_character_start(data, n))
        for n_tokens in (16, 500, 1920):
            window = new_window(snapshot, cursor_byte, Budget(n_tokens, 0.2), tokenizer)
            check(window, tokenizer)
            assert window.n_tokens > n_tokens / (4 if cursor_byte else 10) - 2


def test_of_a_long_line_above_the_cursor_the_end_is_shown(tokenizer: Tokenizer) -> None:
    table = "DATA = [" + "1234, " * 5000 + "]\n"
    snapshot = opened(table + "x = DATA\n")
    window = new_window(snapshot, len(table) + 4, Budget(512, 0.2), tokenizer)
    assert len(window.prefix.ids) > 200
    assert window.prefix.text.endswith(b"1234, ]\n")


def test_a_cursor_between_carriage_return_and_line_feed_has_a_valid_window(tokenizer: Tokenizer) -> None:
    check(new_window(opened("a = 1\r\nb = 2\r\n"), 6, Budget(64, 0.2), tokenizer), tokenizer)


def test_tokens_that_one_side_does_not_need_go_to_the_other(tokenizer: Tokenizer) -> None:
    """A file that fits the budget but not the shares is shown whole, unless most of it is below the cursor."""
    lines = "".join(f"name_{n} = {n}\n" for n in range(12))
    assert len(tokenizer.encode(lines.encode())) <= MAX_WHOLE_SUFFIX_TOKENS
    budget = Budget(len(tokenizer.encode(lines.encode())) + 4, 0.5)
    for cursor_byte in (0, len(lines) // 2, len(lines)):
        window = new_window(opened(lines), cursor_byte, budget, tokenizer)
        assert is_whole(window)


def scopes_and_imports(path: Path) -> tuple[list[tuple[range, range]], list[range]]:
    """Return the lines of header and body of each scope, and of top-level imports, by Python's own parser."""
    tree = ast.parse(path.read_text())
    scopes = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if node.body[0].lineno > node.lineno:
                scopes.append((range(first, node.lineno + 1), range(node.body[0].lineno, node.end_lineno + 1)))
    imports = [range(n.lineno, n.end_lineno + 1) for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    return scopes, imports


@pytest.mark.parametrize("path", PYTHON_FILES[:3], ids=lambda path: path.name)
def test_headers_and_imports_far_above_are_shown(tokenizer: Tokenizer, path: Path) -> None:
    snapshot = opened_file(path)
    text, rng = snapshot.text, random.Random(2)
    scopes, imports = scopes_and_imports(path)
    n_kept = 0
    for _ in range(40):
        line = rng.choice(rng.choice(scopes)[1])
        if not text.line_text(line - 1).strip():
            continue
        wanted = [header for header, body in scopes if line in body] + [each for each in imports if each.stop <= line]
        n_wanted = sum(len(tokenizer.encode(text.line_text(number - 1))) + 1 for each in wanted for number in each)
        budget = Budget(max(800, 6 * n_wanted), 0.2)  # headers, docstrings and imports may take a share of the prefix
        window = new_window(snapshot, text.line_span(line - 1)[1], budget, tokenizer)
        check(window, tokenizer)
        seen = {
            number
            for s in window.prefix.segments
            for number in range(text.line_of(s.start_byte) + 1, text.line_of(s.end_byte - 1) + 2)
        }
        for each in wanted:
            assert {*each} <= seen, (line, each)
        n_kept += len(window.prefix.segments) > 2
    assert n_kept > 10


HEADERS = {
    "rust": (
        "use std::fmt;\n",
        "impl Parser {\n    fn parse(&mut self) -> Option<Node> {\n",
        "let a = 1;",
        "    }\n}\n",
    ),
    "go": ('import "os"\n', "func (p *Parser) Parse(text string) (*Node, error) {\n", "a := 1", "}\n"),
    "javascript": ('import fs from "fs";\n', "class Parser {\n  parse(text) {\n", "let a = 1;", "  }\n}\n"),
    "java": ("import java.util.List;\n", "class Parser {\n    Node parse(String text) {\n", "int a = 1;", "    }\n}\n"),
    "c": ("#include <stdio.h>\n", "int parse(const char *text)\n{\n", "int a = 1;", "}\n"),
    "python": ("import os\n", "class Parser:\n    @cached\n    def parse(self, text):\n", "a = 1", ""),
}


@pytest.mark.parametrize("language", HEADERS)
def test_headers_and_imports_are_shown_in_other_languages(tokenizer: Tokenizer, language: str) -> None:
    imports, header, line, footer = HEADERS[language]
    filler = "\n" + ("// x\n" if language != "python" else "# x\n") * 300
    above = imports + filler + header + f"        {line}\n" * 300 + "        "
    window = new_window(opened(above + "\n" + footer, language), len(above), Budget(512, 0.2), tokenizer)
    check(window, tokenizer)
    assert window.prefix.text.startswith(imports.encode() + header.encode())
    assert window.prefix.text.count(header.encode()) == window.prefix.text.count(imports.encode()) == 1


def test_a_line_with_two_pinned_parts_is_shown_once(tokenizer: Tokenizer) -> None:
    text = "import os; import re\nimport sys\n" + "class A { static class B { void f() {\n" + "  g(1);\n" * 400
    for language, n_classes in (("python", 0), ("java", 1)):  # Python's grammar finds an error in the class
        window = new_window(opened(text, language), len(text), Budget(256, 0.2), tokenizer)
        check(window, tokenizer)
        assert window.prefix.text.count(b"import os") == 1
        assert window.prefix.text.count(b"class A") == n_classes


def test_a_header_is_shown_whole_or_not_at_all(tokenizer: Tokenizer) -> None:
    """For any budget, either all parameters are shown, or the header's first line is not."""
    header = "def f(\n" + "".join(f"    parameter_{n}: int,\n" for n in range(9)) + ") -> None:\n"
    text = "# a\n" * 50 + header + "    g()\n" * 40 + "    "
    snapshot = opened(text)
    for n_tokens in range(200, 500, 7):
        window = new_window(snapshot, len(text), Budget(n_tokens, 0.0), tokenizer)
        check(window, tokenizer)
        assert header.encode() in window.prefix.text or n_tokens * 0.35 < len(tokenizer.encode(header.encode()))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("some plain text that goes on\n" * 500, "plaintext"),
        ("a = 1\nb = 2\n" * 300, "unheard-of"),
        ("def ((( class }}} import\n" * 500, "python"),
        ("fn } { ( ] struct impl\n" * 500, "rust"),
    ],
)
def test_without_a_tree_windows_are_whole_lines(tokenizer: Tokenizer, text: str, language: str) -> None:
    window = new_window(opened(text, language), len(text) // 2, Budget(300, 0.2), tokenizer)
    check(window, tokenizer)
    assert len(window.prefix.ids) > 100
    assert window.prefix.segments[-1].why == "lines before the cursor"


@pytest.mark.parametrize(
    ("docstring", "n_shown"),
    [
        ('    """One line."""\n', 1),
        ("    '''Two\n    lines.'''\n", 2),
        ('    r"""First of many.\n' + "    more\n" * 8 + '    """\n', 1),
        ("    x = '''no docstring'''\n", 0),
        ("", 0),
    ],
)
def test_a_header_is_shown_with_its_docstring(tokenizer: Tokenizer, docstring: str, n_shown: int) -> None:
    header = "@cached\ndef f(x):\n"
    above = "import os\n" + header + docstring + "    g(x)\n" * 400 + "    "
    window = new_window(opened(above + "\n"), len(above), Budget(512, 0.2), tokenizer)
    kept = window.prefix.text.partition(b"    g(x)\n")[0].decode()
    assert kept == "import os\n" + header + "".join(docstring.splitlines(keepends=True)[:n_shown])


@pytest.mark.parametrize("language", SAMPLES)
def test_windows_at_any_cursor_in_any_language_are_valid(tokenizer: Tokenizer, language: str) -> None:
    """At 70 random cursors in each of more than 30 languages, windows fit the budget and show the document's text."""
    source = SAMPLES[language].source
    rng, snapshot = random.Random(language), opened((source + "\n") * (24_000 // len(source) + 1), language)
    outline = Outline.of(snapshot.syntax.definitions() if snapshot.syntax is not None else ())
    for _ in range(70):
        cursor_byte = rng.randrange(len(snapshot.text.data) + 1)
        while not is_character_start(snapshot.text.data, cursor_byte):
            cursor_byte -= 1
        check(new_window(snapshot, cursor_byte, Budget(1024, 0.2), tokenizer, (), outline), tokenizer)


FILLER = "def filler_{}(x):\n    return x + 1\n\n\n"
SIGNATURES = (
    "import os\n\n\ndef helper(path, mode='r'):\n    return open(path, mode)\n\n\ndef unrelated(a):\n    return a\n\n\n"
    "class Reader:\n    def __init__(self, path):\n        self.path = path\n\n    def lines(self):\n"
    "        return 1\n\n"
    "    def big(self):\n"
)
BODY = "        x = compute(1)\n"


def test_signatures_of_members_and_of_names_used_in_the_scope_are_shown(tokenizer: Tokenizer) -> None:
    above = SIGNATURES + BODY * 200 + "        return helper("
    behind = ")\n" + BODY * 12 + "\n    def close(self):\n        pass\n\n\n" + "".join(map(FILLER.format, range(300)))
    snapshot = opened(above + behind)
    outline = Outline.of(snapshot.syntax.definitions())
    window = new_window(snapshot, len(above), Budget(800, 0.3), tokenizer, (), outline)
    check(window, tokenizer)
    head = window.prefix.text[: window.prefix.text.index(BODY.encode())].decode()
    assert head == (
        "import os\ndef helper(path, mode='r'):\nclass Reader:\n    def __init__(self, path):\n    def lines(self):\n"
        "    def big(self):\n"
    )
    assert window.suffix.text == (")\n" + BODY * 12 + "    def close(self):\ndef filler_0(x):\n").encode()
    assert window.text_after_cursor == (")\n" + BODY * 12).encode()


def test_editing_a_shown_signature_ends_the_window(tokenizer: Tokenizer) -> None:
    above = SIGNATURES + BODY * 200 + "        return "
    behind = "\n" + BODY * 12 + "\n    def close(self):\n        pass\n\n\n" + "".join(map(FILLER.format, range(300)))
    budget, anchors = Budget(800, 0.3), Anchors()
    window = anchors.full_window(opened(above + behind), len(above), budget, tokenizer)
    assert b"def close(self):" in window.suffix.text
    anchors.remember(window)
    elsewhere = behind.replace("        pass", "        return")
    same = anchors.full_window(opened(above + elsewhere), len(above), budget, tokenizer)
    assert same.suffix.ids == window.suffix.ids
    check(same, tokenizer)
    other = anchors.full_window(
        opened(above + behind.replace("close(self)", "close(self, now)")), len(above), budget, tokenizer
    )
    assert b"close(self, now)" in other.suffix.text


def test_the_suffix_ends_with_the_scope_around_the_cursor(tokenizer: Tokenizer) -> None:
    function = "def f(x):\n" + "    x += 1\n" * 40 + "    return x\n\n\n"
    above, behind = function * 30 + "def f(x):\n" + "    x += 1\n" * 20, "    x += 1\n" * 20 + "    return x\n"
    window = new_window(opened(above + behind + "\n\n" + function * 30), len(above), Budget(1920, 0.2), tokenizer)
    assert window.suffix.text == behind.encode()
    assert window.suffix.segments[0].why == "to the end of function f"


def test_a_scope_that_ends_at_once_does_not_end_the_suffix(tokenizer: Tokenizer) -> None:
    function = "def f(x):\n    return x\n\n\n"
    above = function * 200 + "def f(x):\n    return"
    window = new_window(opened(above + " x\n\n\n" + function * 200), len(above), Budget(1920, 0.2), tokenizer)
    assert len(window.suffix.ids) >= MIN_SUFFIX_TOKENS
    assert window.suffix.segments[0].why == "to the end of the paragraph"


@pytest.mark.parametrize("language", ["python", "plaintext"])
def test_a_suffix_ends_with_a_paragraph_in_any_language(tokenizer: Tokenizer, language: str) -> None:
    statements = "".join(f"    total += values[{n}] * weights[{n}]\n" for n in range(12))
    above = "import os\n\n\n" + "def f(values, weights):\n" + statements + "\n"
    below = "\n" + statements + "\n" + statements + "    return total\n\n\n"
    assert len(tokenizer.encode(statements.encode())) >= MIN_SUFFIX_TOKENS
    text = above + "    x = 1" + below + (above + below) * 20
    window = new_window(opened(text, language), len(above) + 9, Budget(1920, 0.2), tokenizer)
    assert window.suffix.text == ("\n" + statements + "\n").encode()
    assert window.suffix.segments[0].why == "to the end of the paragraph"


def typed(
    tokenizer: Tokenizer, snapshot: Snapshot, at: int, text: str, budget: Budget, anchors: Anchors | None
) -> list[Window]:
    documents = Documents()
    documents.open(snapshot.uri, snapshot.language_id, 1, snapshot.text.to_str())
    line, character = snapshot.text.position_of(at, "utf-8")
    windows = []
    for version, letter in enumerate(text, 2):
        now = documents.change(snapshot.uri, version, [Edit(line, character, line, character, letter)], "utf-8")
        line, character = (line + 1, 0) if letter == "\n" else (line, character + 1)
        cursor_byte = now.text.byte_at(line, character, "utf-8")
        if anchors is None:
            windows.append(new_window(now, cursor_byte, budget, tokenizer))
        else:
            windows.append(anchors.window(now, cursor_byte, budget, budget, tokenizer))
            anchors.remember(windows[-1])
    return windows


TYPED = "    total = total + value.compute(alpha, beta)\n    if total:\n        print('the total is', total)\n" * 3


@pytest.mark.parametrize("n_tokens", [512, 1920])
def test_typing_moves_the_left_edge_rarely(tokenizer: Tokenizer, n_tokens: int) -> None:
    """During 200 letters at the end of a long file, nearly all of each prompt equals the one before."""
    snapshot = opened_file(PYTHON_FILES[0])
    budget = Budget(n_tokens, 0.2)
    windows = typed(tokenizer, snapshot, len(snapshot.text.data), TYPED[:200], budget, Anchors())
    prefixes = [w.prefix.ids for w in windows]
    n_hops = sum(one != other for one, other in pairwise(prefixes))
    assert n_hops <= 2
    for window in windows:
        assert window.n_tokens <= n_tokens
        assert window.middle.text == window.snapshot.text.data[window.anchor_byte : window.cursor_byte]


def test_typing_inside_a_line_changes_the_middle_only(tokenizer: Tokenizer) -> None:
    """This holds without remembered windows, too, if the line adds no syntax error."""
    snapshot = opened_file(PYTHON_FILES[0])
    at = snapshot.text.line_span(3000)[1]
    windows = typed(tokenizer, snapshot, at, " # and so on and so on, and on and on", Budget(1920, 0.2), None)
    assert len({(w.prefix.ids, w.suffix.ids) for w in windows}) == 1
    assert len({w.middle.ids for w in windows}) == len(windows)


def test_a_cut_window_leaves_room_for_typing(tokenizer: Tokenizer) -> None:
    snapshot = opened_file(PYTHON_FILES[0])
    for line in (100, 3000, 6000):
        window = new_window(snapshot, snapshot.text.line_span(line)[1], Budget(1920, 0.2), tokenizer)
        assert window.budget.n_tokens - window.n_tokens + len(window.middle.ids) >= 128
