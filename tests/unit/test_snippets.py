"""The choice of snippets from other files: small projects, thresholds, and properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.context.snippet import SnippetRoom, Sources
from starcoder_lsp.context.snippets import choose_snippets
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.workspace import WorkspaceContext

ALL = Sources()


@pytest.fixture(scope="module")
def tokenizer(prompts):
    return CachingTokenizer(prompts.tokenizer)


def room_of(n_tokens, tokenizer):
    """Return a budget; each snippet also takes a marker and its path with a newline, as in StarCoder2's prompts."""
    return SnippetRoom(
        n_tokens, tokenizer, lambda path, ids: 1 + len(tokenizer.encode(path.encode() + b"\n")) + len(ids)
    )


@pytest.fixture
def choose(tmp_path, tokenizer):
    """Return a function that chooses snippets for the cursor █ in the file `name`, in the project that `put` wrote."""

    def chosen(name, text, *, n_tokens=400, opened=(), edits=(), sources=ALL, root=tmp_path):
        before, _, after = text.partition("█")
        documents = Documents()
        edited_file = documents.open((tmp_path / name).as_uri(), "", 1, before + after)
        others = tuple(documents.open((tmp_path / n).as_uri(), "", 1, (tmp_path / n).read_text()) for n in opened)
        recent = tuple(((tmp_path / n).as_uri(), start, end) for n, start, end in edits)
        around = WorkspaceContext(root, others, recent)
        return choose_snippets(edited_file, len(before.encode()), around, sources, room_of(n_tokens, tokenizer))

    return chosen


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


BODY = "".join(f"        total{n} = compute{n}(total{n})\n" for n in range(20))
PARSER = f'''import os

LIMIT = 12


@frozen
class Parser:
    """Reads things.

    At length.
    """

    depth: int = 3

    def parse(self, text: str) -> Tree:
        """One tree."""
{BODY}
    @property
    def rest(self) -> str:
{BODY}

def helper(a, b):
    return a + b


def unrelated(c):
    return c
'''


def test_a_class_is_shown_as_headers_of_itself_and_its_members(tmp_path, choose):
    put(tmp_path, {"pkg/parser.py": PARSER})
    [snippet] = choose("pkg/main.py", "from .parser import Parser\n\ntree = Parser().█\n")
    assert snippet.text.decode() == (
        '@frozen\nclass Parser:\n    """Reads things.\n    depth: int = 3\n'
        '    def parse(self, text: str) -> Tree:\n        """One tree."""\n'
        "    @property\n    def rest(self) -> str:\n"
    )
    assert (snippet.path, snippet.start_line, snippet.why) == ("pkg/parser.py", 6, "defines Parser, imported here")
    assert snippet.end_line == 1 + PARSER[: PARSER.index("def rest")].count("\n")


def test_a_small_imported_function_is_shown_whole(tmp_path, choose):
    put(tmp_path, {"pkg/parser.py": PARSER})
    [snippet] = choose("pkg/main.py", "from pkg.parser import helper, LIMIT\n\nx = helper(LIMIT, unrelated█)\n")
    assert snippet.text == b"LIMIT = 12\ndef helper(a, b):\n    return a + b\n"
    assert snippet.why == "defines LIMIT, helper, imported here"


def test_of_an_imported_module_only_names_used_near_the_cursor_are_shown(tmp_path, choose):
    put(tmp_path, {"pkg/parser.py": PARSER})
    [snippet] = choose("pkg/main.py", "from . import parser\n\nx = parser.helper(█)\n")
    assert snippet.text == b"def helper(a, b):\n    return a + b\n"
    assert choose("pkg/main.py", "from . import parser\n\nx = █\n") == ()


def test_imported_names_not_used_near_the_cursor_are_shown_as_headers(tmp_path, choose):
    put(tmp_path, {"pkg/parser.py": PARSER})
    far = "x = 1\n" * 50
    [snippet] = choose("pkg/main.py", f"from .parser import Parser, helper\n{far}█\n")
    assert snippet.text.decode() == '@frozen\nclass Parser:\n    """Reads things.\ndef helper(a, b):\n'


def test_reexported_names_are_followed(tmp_path, choose):
    put(tmp_path, {"pkg/__init__.py": "from .parser import Parser, helper as helper\n", "pkg/parser.py": PARSER})
    snippets = choose("main.py", "from pkg import helper\n\nhelper(█)\n")
    assert [(s.path, s.text) for s in snippets] == [("pkg/parser.py", b"def helper(a, b):\n    return a + b\n")]


@pytest.mark.parametrize(
    ("files", "statements"),
    [
        ({"pkg/__init__.py": "from .mod import *"}, "from pkg import Y"),
        ({"pkg/__init__.py": "from .mod import Y"}, "from pkg.mod import X\nfrom pkg import Y"),
        ({"pkg/__init__.py": "from .mod import Y"}, "from pkg import Y\nfrom pkg.mod import X"),
        (
            {"pkg/__init__.py": "from .mod import X", "pkg/b.py": "from .mod import Y"},
            "from pkg import X\nfrom pkg.b import Y",
        ),
        ({"pkg/__init__.py": "from .mod import *", "pkg/b.py": "from . import *"}, "from pkg import X, Y"),
        (
            {"pkg/__init__.py": "from .c import *\nfrom .mod import *", "pkg/c.py": "from . import *"},
            "from pkg import Y",
        ),
    ],
)
def test_a_definition_is_found_on_every_way_that_leads_to_it(tmp_path, choose, files, statements):
    put(tmp_path, {"pkg/mod.py": "def X():\n    pass\n\n\ndef Y(a):\n    return a\n", **files})
    [snippet] = choose("main.py", f"{statements}\n{'z = 1' * 50}\nY(█)\n")
    assert snippet.path == "pkg/mod.py"
    assert b"def Y(a):\n    return a\n" in snippet.text


# Files of a project, the last one with the cursor. The expected snippet stands between the marks « and ».
PROJECTS = {
    "typescript": """\
== src/shapes.ts
export interface Box {
  w: number;
}
«export function area(b: Box) {
  return b.w;
}
»
== src/app.tsx
import { area } from './shapes'
const a = area(█)
""",
    "typescript, reexported": """\
== src/shapes/box.ts
«export function area(b: Box) {
  return b.w;
}
»
== src/shapes/line.ts
export function length(b: Line) {
  return b.l;
}
== src/shapes/index.ts
export * from './line'
export * from './box'
== src/app.tsx
import { area } from './shapes'
const a = area(█)
""",
    "go": """\
== go.mod
module x.org/m
== util/util.go
package util

«func Join(a, b string) string {
\treturn a + b
}
»
func Split(a string) {}
== main.go
package main

import "x.org/m/util"

func main() {
\tutil.Join(█)
}
""",
    "rust": """\
== src/a.rs
«#[derive(Debug)]
pub struct One {
    pub x: u8,
}
impl One {
    pub fn go(&self) {}
}
»fn unrelated() {}
== src/main.rs
mod a;
use a::One;
fn main() { let one = One {█ } }
""",
    "java": """\
== src/main/java/p/Text.java
package p;

«public class Text {
  static String join(String a) {
    return a;
  }
}
»
== src/main/java/q/App.java
package q;

import p.Text;

class App {
  String s = Text.█
}
""",
    "c": """\
== include/m/sequence.h
#ifndef SEQUENCE_H
typedef struct list {
  int n;
} list;
«int list_len(const list *l);
»#endif
== src/main.c
#include <stdio.h>
#include "m/sequence.h"

int main(void) {
  return list_len(█);
}
""",
}


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_the_imported_definition_is_shown_in_each_language(tmp_path, choose, project):
    files = dict(part.split("\n", 1) for part in project.removeprefix("== ").split("\n== "))
    [path] = [name for name, text in files.items() if "«" in text]
    shown = files[path].partition("«")[2].partition("»")[0]
    put(tmp_path, files | {path: files[path].replace("«", "").replace("»", "")})
    assert [(s.path, s.text.decode()) for s in choose(*list(files.items())[-1])] == [(path, shown)]


HANDLER = """
def handle_{name}(request, session):
    account = session.find_account(request.account_id)
    if account is None:
        raise NotFound(request.account_id)
    payload = {name}_payload(account, request.options)
    session.publish(payload)
    return Response(payload, status=request.{name}_status)
"""
EDITED = "import web\n" + HANDLER.format(name="invoice") + "\n\ndef handle_order(request, session):\n    account = █\n"
README = "# Accounts\n\nEvery request has a session, and with it an account. Find the account by its id.\n" * 5


def test_the_open_document_similar_to_the_cursors_lines_is_shown(tmp_path, choose):
    filler = "".join(f"def other_{n}(alpha_{n}):\n    return beta_{n}(alpha_{n})\n\n" for n in range(40))
    put(tmp_path, {"a.py": filler + HANDLER.format(name="refund"), "b.py": filler, "README.md": README})
    [snippet] = choose("main.py", EDITED, opened=["b.py", "README.md", "a.py"])
    assert snippet.path == "a.py"
    assert b"def handle_refund" in snippet.text
    assert snippet.why == "open file similar to the lines around the cursor"


def test_recently_edited_code_needs_less_similarity_and_comes_first(tmp_path, choose):
    other = "def close(session, account):\n    session.drop(account)\n    log(closed)\n" + "\n" * 60
    put(tmp_path, {"a.py": HANDLER.format(name="refund"), "b.py": other + "def unlike():\n    pass\n"})
    opened = ["a.py", "b.py"]
    assert [s.path for s in choose("main.py", EDITED, opened=opened)] == ["a.py"]
    snippets = choose("main.py", EDITED, opened=opened, edits=[("b.py", 1, 2)])
    assert next((s.path, s.why) for s in snippets) == ("b.py", "edited recently")
    assert [s.path for s in choose("main.py", EDITED, opened=opened, edits=[("b.py", 63, 63)])] == ["a.py"]
    assert choose("main.py", EDITED, edits=[("a.py", -5, 10**9), ("gone.py", 0, 1), ("main.py", 0, 1)])
    passed_over = [("gone.py", 0, 1), ("main.py", 0, 1), ("b.py", 1, 2)]
    assert choose("main.py", EDITED, edits=passed_over)[0].path == "b.py"


def test_imported_definitions_come_first(tmp_path, choose):
    put(tmp_path, {"web.py": "class Response:\n    pass\n", "a.py": HANDLER.format(name="refund")})
    text = EDITED.replace("import web", "from web import Response")
    assert [s.path for s in choose("main.py", text, opened=["a.py"])] == ["web.py", "a.py"]
    only = {"open_files": False, "recent_edits": False, "imports": False}
    by_source = {
        key: [s.path for s in choose("main.py", text, opened=["a.py"], sources=Sources(**(only | {key: True})))]
        for key in only
    }
    assert by_source == {"open_files": ["a.py"], "recent_edits": [], "imports": ["web.py"]}


def test_copies_of_visible_code_are_left_out(tmp_path, choose):
    refund = HANDLER.format(name="refund")
    put(tmp_path, {"copy.py": EDITED.replace("█", ""), "a.py": refund, "backup.py": refund + "# old\n"})
    assert len(choose("main.py", EDITED, opened=["copy.py", "a.py", "backup.py"])) == 1


def test_excluded_open_documents_are_not_shown(tmp_path, choose):
    refund = HANDLER.format(name="refund")
    names = ["secrets.py", "ignored.py", "private/a.py", "link.py", "binary.py"]
    put(tmp_path, {**dict.fromkeys(names, refund), ".gitignore": "ignored.py\n", "binary.py": refund + "\0"})
    (tmp_path / "link.py").unlink()
    (tmp_path / "link.py").symlink_to("secrets.py")
    sources = Sources(disabled_globs=("private/**",))
    assert choose("main.py", EDITED, opened=names, edits=[(n, 0, 5) for n in names], sources=sources) == ()
    text = "from secrets import handle_refund\nfrom ignored import handle_refund\nhandle_refund(█)\n"
    assert choose("main.py", text, opened=names) == ()
    assert choose("main.py", text) == ()


def test_without_a_root_only_open_documents_are_shown_by_name(tmp_path, choose):
    put(tmp_path, {"deep/a.py": HANDLER.format(name="refund"), "web.py": "class Response:\n    pass\n"})
    text = EDITED.replace("import web", "from web import Response")
    assert [s.path for s in choose("main.py", text, opened=["deep/a.py"], root=None)] == ["a.py"]
    assert [s.path for s in choose("main.py", text, opened=["deep/a.py"], root=tmp_path / "other")] == ["a.py"]


def test_the_editors_text_of_an_open_file_is_shown(tmp_path, tokenizer):
    put(tmp_path, {"a.py": "def f(old): ...\n"})
    documents = Documents()
    edited_file = documents.open((tmp_path / "main.py").as_uri(), "", 1, "from a import f\nf(\n")
    other = documents.open((tmp_path / "a.py").as_uri(), "", 1, "def f(new): ...\r\n")
    [snippet] = choose_snippets(
        edited_file, 18, WorkspaceContext(tmp_path, (edited_file, other)), ALL, room_of(100, tokenizer)
    )
    assert snippet.text == b"def f(new): ...\n"


def test_a_small_budget_gets_the_header_or_the_middle_half(tmp_path, choose):
    put(tmp_path, {"web.py": "def respond(payload, status):\n" + "    log(payload, status)\n" * 9})
    text = "from web import respond\nrespond(█)\n"
    assert choose("main.py", text)[0].text.count(b"\n") == 10
    assert choose("main.py", text, n_tokens=40)[0].text == b"def respond(payload, status):\n"
    assert choose("main.py", text, n_tokens=5) == ()
    put(tmp_path, {"a.py": HANDLER.format(name="refund").replace("\n", "  # own\n")})
    whole, half = (choose("main.py", EDITED, opened=["a.py"], n_tokens=n)[0].text for n in (400, 100))
    lines, middle = whole.splitlines(), half.splitlines()
    assert len(middle) == (len(lines) + 1) // 2
    assert middle == lines[len(lines) // 4 : len(lines) // 4 + len(middle)]


def test_the_choice_is_repeatable_and_independent_of_the_word_being_typed(tmp_path, choose):
    put(tmp_path, {"a.py": HANDLER.format(name="refund"), "web.py": "class Response:\n    pass\n"})
    text = EDITED.replace("import web", "from web import Response")
    first = choose("main.py", text, opened=["a.py"])
    assert first == choose("main.py", text, opened=["a.py"])
    for typed in ("s", "se", "ses", "sess"):
        assert choose("main.py", text.replace("█", f"{typed}█"), opened=["a.py"]) == first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 300_000,
        "0" * 300_000,
        "{" * 10_000,
        "\0",
        "\ufeff\u2028\x0c\r\r\n\ud800",
        "import a\n" * 5000,
        "a, " * 30_000,
        "from .o import *\nfrom . import *\n",
    ],
    ids=range(9),
)
def test_odd_documents_give_snippets_within_the_budget(tmp_path, tokenizer, text):
    put(tmp_path, {"__init__.py": "from . import *\nfrom .main import *\n"})
    documents = Documents()
    edited_file = documents.open((tmp_path / "main.py").as_uri(), "", 1, text)
    unnamed = documents.open("untitled:Untitled-1", "python", 1, text)
    others = [documents.open((tmp_path / name).as_uri(), "", 1, text) for name in ("o.py", "p.md", "q.unknown", "r.js")]
    edits = tuple((other.uri, -3, 2**40) for other in others)
    around = WorkspaceContext(tmp_path, (*others, edited_file, unnamed), edits)
    for cursor_byte in (0, len(edited_file.text.data) // 2, len(edited_file.text.data)):
        chosen = choose_snippets(edited_file, cursor_byte, around, ALL, room_of(200, tokenizer))
        assert sum(len(snippet.ids) for snippet in chosen) <= 200
        assert len({snippet.path for snippet in chosen}) == len(chosen)
        for snippet in chosen:
            assert snippet.ids == tokenizer.encode(snippet.text) != ()


FILES = {
    "pkg/parser.py": PARSER,
    "pkg/handlers.py": "\n".join(HANDLER.format(name=name) for name in ("refund", "order", "credit", "login")),
    "pkg/crlf.py": HANDLER.format(name="credit").replace("\n", "\r\n"),
    "pkg/__init__.py": "from .parser import Parser, helper\nfrom .handlers import handle_order\n",
}
MAIN = (
    "from pkg import Parser, helper, handle_order\nfrom pkg.crlf import handle_credit\n" + EDITED.replace("█", "") * 3
)


@given(
    at=st.floats(0, 1),
    n_tokens=st.integers(-5, 600),
    edit=st.integers(0, 40),
    opened=st.permutations(sorted(FILES)),
    n_opened=st.integers(0, 4),
)
def test_snippets_are_whole_lines_of_files_within_the_budget(
    tmp_path_factory, tokenizer, at, n_tokens, edit, opened, n_opened
):
    root = tmp_path_factory.getbasetemp() / "property"
    if not root.is_dir():
        put(root, FILES)
    documents = Documents()
    edited_file = documents.open((root / "main.py").as_uri(), "", 1, MAIN)
    others = tuple(documents.open((root / n).as_uri(), "", 1, FILES[n]) for n in opened[:n_opened])
    around = WorkspaceContext(root, others, tuple((other.uri, edit, edit + 3) for other in others[:2]))
    snippets = choose_snippets(edited_file, int(at * len(MAIN)), around, ALL, room_of(n_tokens, tokenizer))
    paths = [snippet.path for snippet in snippets]
    assert sum(len(s.ids) + len(tokenizer.encode(s.path.encode() + b"\n")) + 1 for s in snippets) <= max(n_tokens, 0)
    assert len(paths) == len(set(paths))
    for snippet in snippets:
        data = (root / snippet.path).read_bytes()
        assert snippet.ids == tokenizer.encode(snippet.text)
        lines = data.splitlines()
        remaining = iter(lines[snippet.start_line - 1 : snippet.end_line])
        assert all(line in remaining for line in snippet.text.splitlines())  # in this order
        assert snippet.text.splitlines()[0] == lines[snippet.start_line - 1]
        assert snippet.text.splitlines()[-1] == lines[snippet.end_line - 1]
        *whole, _ = data.splitlines(keepends=True)[snippet.start_line - 1 : snippet.end_line]
        last = lines[snippet.end_line - 1]
        assert data[snippet.start_byte : snippet.end_byte] == b"".join(whole) + last
