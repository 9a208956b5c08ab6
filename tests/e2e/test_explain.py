"""The command `starcoder-lsp explain`: it shows the server's answer, and no control sequence of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from starcoder_lsp.cli.explain import clipped, in_order
from starcoder_lsp.cli.explain_page import page_of, visible
from starcoder_lsp.context.explain import PromptSegment, explain, list_segments, spelled
from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.window import Budget
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.fim import OtherFile
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import PromptBuilder, build_prompt

from .conftest import ROOT, Wire, lasting_server
from .test_cli import assert_refused, run

SOURCE = (ROOT / "starcoder_lsp/documents/syntax.py").read_text()
NASTY = (
    "<b>bold</b> & &amp; </script></pre></li><!-- <fim_middle>\n"
    "escape = '\x1b[31mred\x1b]0;title\x07 \x9b31m \x7f \x08\x08'\n"
    "turned = '\u202egnp.\u2066' \u2028 \ufeff \u200b\r\n"
    "\tif tabs:\t\t'inside'\r"
    "emoji = '😀👩‍💻🏳️‍🌈', '日本語', 'é'\n"
    "\n"
    f"long = '{'x😀' * 5000}'\n"
    'quoted = "it\'s" + \'a "title"\'\n'
    "def here(argument):\n"
    "    return argument + (behind)\n"
    "last = [1]"
)
CURSOR = "return argument + "
LONG = "".join(f"value_{i} = '<{i}>' & compute({i})\n" for i in range(400))
WITHIN_BUDGET = NASTY.replace("x😀" * 5000, "x😀" * 150)
TEXTS = {"short": WITHIN_BUDGET, "wide": NASTY, "long": LONG + WITHIN_BUDGET + "\n" + LONG, "one line": CURSOR}
SGR = re.compile(r"\x1b\[[0-9;]*m")


def lines_of(text: str) -> list[str]:
    return re.split("\r\n|\r|\n", text)


def place_in(text: str) -> tuple[int, int]:
    """Return line and column of the cursor, from 0."""
    lines = lines_of(text[: text.index(CURSOR) + len(CURSOR)])
    return len(lines) - 1, len(lines[-1])


@pytest.fixture(params=TEXTS)
def nasty(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A text, and the cursor's place in a file with that text."""
    text = TEXTS[request.param]
    path = tmp_path / "nasty.py"
    path.write_bytes(text.encode())
    line, column = place_in(text)
    return text, f"{path}:{line + 1}:{column + 1}"


# JSON


@pytest.fixture(scope="module")
def server() -> Iterator[Wire]:
    """A server that chooses the whole window, and prefills nothing."""
    with lasting_server({"trigger": "invoked", "context": {"maxPrefillMs": 100_000}}) as made:
        yield made


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [NASTY.replace("\r\n", "\n").replace("\r", "\n"), LONG + NASTY + LONG])
def test_the_json_equals_the_servers_answer(server: Wire, tmp_path: Path, text: str, newline: str) -> None:
    path = tmp_path / "example.py"
    text = text.replace("\n", newline)
    path.write_bytes(text.encode())
    line, column = place_in(text)
    server.emptied().open(path.as_uri(), text)
    where = {"textDocument": {"uri": path.as_uri()}, "position": {"line": line, "character": column}}
    wanted = server.call("explain", "starcoder/explain", where)["result"]
    ran = run("explain", f"{path}:{line + 1}:{column + 1}", "--json")
    assert (ran.returncode, ran.stderr) == (0, b"")
    segments = json.loads(ran.stdout)
    assert segments.pop("timingsMs").keys() == wanted.pop("timingsMs").keys()
    assert segments == wanted


# On a terminal


def test_the_terminal_shows_the_prompt_in_document_order(nasty: tuple[str, str]) -> None:
    text, place = nasty
    ran = run("explain", place)
    assert (ran.returncode, ran.stderr) == (0, b"")
    lines = ran.stdout.decode().removesuffix("\n").split("\n")
    assert lines[0].endswith(place)
    explained = json.loads(run("explain", place, "--json").stdout)
    figures = (explained["language"], explained["format"], explained["promptTokens"], explained["budgetTokens"])
    assert all(str(figure) in lines[1] for figure in figures)
    markers = [line for line in lines if re.fullmatch("<fim_[a-z]+>", line)]
    assert markers == ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    about = [line for line in lines[2:] if not line.startswith(("│", "<"))]
    for line, segment in zip(about, explained["segments"], strict=True):
        n_tokens, why = segment["tokens"], segment["why"]
        assert line.startswith(f"{segment['kind']}  {place.rsplit(':', 2)[0]}:{segment['startLine']}")
        assert re.search(rf"  {n_tokens} tokens?  {re.escape(why)}$", line)
    assert lines[-1] == f"│ {lines_of(text)[place_in(text)[0]][: place_in(text)[1]]}█"
    assert sum("lines …" in line for line in lines) == 2 * text.startswith(LONG)


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1", "COLUMNS": "60"}])
def test_control_sequences_of_a_file_do_not_reach_the_terminal(nasty: tuple[str, str], env: dict[str, str]) -> None:
    ran = run("explain", nasty[1], TERM="xterm-256color", **env)
    shown = ran.stdout.decode()
    assert bool(SGR.search(shown)) == bool(env)
    assert all(line.isprintable() for line in SGR.sub("", shown).split("\n"))
    if nasty[0] == WITHIN_BUDGET:
        assert "escape = '␛[31mred␛]0;title␇ <U+009B>31m <U+007F> ␈␈'" in SGR.sub("", shown)
        assert "turned = '<U+202E>gnp.<U+2066>' <U+2028>" in SGR.sub("", shown)
    assert all(cell_len(line) <= 200 for line in SGR.sub("", shown).split("\n") if line.startswith("│"))


def test_control_sequences_of_a_file_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\n<b>.py"
    path.write_text("x = 1\n")
    assert b"\x1b" not in run("explain", f"{path}:1:1").stdout
    shown = run("explain", f"{path}:1:1", "--html").stdout
    assert b"\x1b" not in shown
    assert b"<b>" not in shown


@given(line=st.text(), n_columns=st.integers(8, 40))
def test_lines_are_cut_to_their_columns(line: str, n_columns: int) -> None:
    shown = clipped(line.replace("\n", ""), n_columns)
    assert shown.isprintable()
    assert cell_len(shown) <= n_columns


# As a page


class Page(HTMLParser):
    """A parsed page. Its elements must close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.items: list[tuple[dict[str, str | None], list[tuple[str | None, str | None, str]]]] = []
        self.before_cursor: str | None = None
        self.prompt = ""
        self.names: list[str] = []
        self.values: list[tuple[str, str | None]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.values += attrs
        if tag == "meta":
            return
        self.open.append((tag, dict(attrs)))
        if tag == "li":
            self.items.append((dict(attrs), []))
        if dict(attrs).get("id") == "cursor":
            self.before_cursor = self.text_of_item(-1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "li" in tags:
            attrs = next((attrs for _, attrs in self.open[::-1] if "class" in attrs), {})
            self.items[-1][1].append((attrs.get("class"), attrs.get("title"), data))
        if tags[-1:] == ["pre"]:
            self.prompt += data

    def text_of_item(self, at: int) -> str:
        return "".join(text for _, _, text in self.items[at][1])


def test_the_page_has_every_line_once_and_marks_those_in_the_prompt(nasty: tuple[str, str]) -> None:
    text, place = nasty
    explained = json.loads(run("explain", place, "--json").stdout)
    ran = run("explain", place, "--html")
    assert (ran.returncode, ran.stderr) == (0, b"")
    source = ran.stdout.decode()
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"[^\n\t -\ud7ff\ue000-\U0010ffff]|[\x7f-\x9f]", source)
    assert not {"script", "link", "img", "iframe"} & set(page.names)
    assert all((value or "").startswith("#") for name, value in page.values if name in ("href", "src"))

    wanted = [visible(line, keep="\t") for line in lines_of(text)]
    assert [page.text_of_item(i) for i in range(len(page.items))] == wanted
    for number, (attrs, parts) in enumerate(page.items, 1):
        assert attrs["id"] == f"L{number}"
        here = [s for s in explained["segments"] if s["startLine"] <= number <= s["endLine"]]
        kinds = {kind for kind, _, _ in parts} | {attrs.get("class")}
        assert kinds - {None} == {s["kind"] for s in here}
        titles = {attrs.get("title"), *(title for _, title, _ in parts)}
        assert titles - {None} == {f"{s['kind']}: {s['why']}" for s in here}
    line, column = place_in(text)
    assert source.count('id="cursor"') == 1
    assert page.before_cursor == lines_of(text)[line][:column]
    assert page.prompt.removeprefix("\n") == visible(explained["prompt"], keep="\n\t")


# The parts of the prompt


@pytest.fixture(scope="module")
def model(prompts: PromptModel) -> PromptBuilder:
    return PromptBuilder.reading(prompts)


@given(at=st.integers(0, len(SOURCE)), n_tokens=st.sampled_from([64, 300, 1900]))
def test_the_parts_in_order_are_the_whole_prompt(model: PromptBuilder, at: int, n_tokens: int) -> None:
    snapshot = Documents().open("file:///a.py", "python", 1, SOURCE)
    window = new_window(snapshot, len(SOURCE[:at].encode()), Budget(n_tokens, 0.2), model.tokenizer)
    prompt, segments = build_prompt(window, model), list_segments(window, model.tokenizer, "a.py")
    parts = list(in_order(prompt, model, segments))
    assert [part for part in parts if isinstance(part, PromptSegment)] == list(segments)
    assert not any(isinstance(part, bytes) for part in parts)
    assert "".join(map(as_text, parts)) == spelled(prompt, model.tokenizer)


def as_text(part: str | bytes | PromptSegment) -> str:
    if isinstance(part, str):
        return part
    return (part.text if isinstance(part, PromptSegment) else part).decode()


def test_snippets_of_other_files_come_first(model: PromptBuilder) -> None:
    encode = model.tokenizer.encode
    snapshot = Documents().open("file:///src/a.py", "python", 1, SOURCE)
    window = new_window(snapshot, len(SOURCE.encode()), Budget(200, 0.2), model.tokenizer)
    code = b"def <b>(x):\n    return x\n"
    other = PromptSegment("snippet", "lib/other.py", 7, 8, len(encode(code)), "defines what is imported", code)
    segments = (other, *list_segments(window, model.tokenizer, "src/a.py"))
    file = OtherFile("lib/other.py", encode(code))
    frame = model.prompts.fim.repository_frame(encode, "name", "src/a.py", [file])
    prompt = model.prompts.fim.infill(window.prefix.ids, window.suffix.ids, frame=frame)

    parts = list(in_order(prompt, model, segments))
    beginning = ["<repo_name>", b"name", "<file_sep>", b"lib/other.py\n", other, "<file_sep>", "<fim_prefix>"]
    assert parts[: len(beginning)] == beginning
    assert parts[len(beginning)] == b"src/a.py\n"
    assert parts[len(beginning) + 1 :][-2:] == ["<fim_suffix>", "<fim_middle>"]

    explained: dict[str, Any] = explain(window, prompt, model.tokenizer, "src/a.py")
    source = page_of("src/a.py:1:1", explained, window, segments)
    assert source.index("<h2>lib/other.py:7-8</h2>") < source.index('<ol id="file">')
    page = Page(source)
    for i, line in enumerate(("def <b>(x):", "    return x")):
        assert page.items[i][1] == [("other", other.why, line)]
    assert len(page.items) == 2 + snapshot.text.n_lines


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], []),
        (["missing.py:1:1"], ["missing.py", "No such file"]),
        (["example.py:9:1"], ["no line 9"]),
        (["example.py:1"], ["FILE:LINE:COLUMN"]),
        (["binary.py:1:1"], ["NUL"]),
        (["example.py:1:1", "--json", "--html"], ["--json"]),
        (["example.py:1:1", "--model", "missing.gguf"], ["no model file"]),
        (["example.py:1:1", "--model", "example.py"], ["no GGUF model"]),
    ],
)
def test_an_error_is_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "example.py").write_text("x = 1\n")
    (tmp_path / "binary.py").write_bytes(b"x = 1\0\n")
    assert_refused(run("explain", *arguments, cwd=tmp_path), *words)
