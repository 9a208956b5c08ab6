"""Code actions: the offers at a place, the hole that the model fills, and the edit, which changes nothing around it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.completion import complete
from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.rewrites.rewrite import fill_hole, offer_actions
from starcoder_lsp.rewrites.targets import MAX_HINT_CHARACTERS, MAX_HINT_LINES, MAX_LINES, ActionRequest
from tests.local_engine import LocalEngine
from tests.scripted import Scripted
from tests.unit.action_runs import (
    DEFAULTS,
    action_request,
    completion_request,
    edited_text,
    hole_of,
    opened,
    run_action,
)


def offered_names(at: ActionRequest) -> list[str]:
    return [kind.name for kind, _ in offer_actions(at)]


# Offers


FUNCTION = "import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n\n\nx = 1\n"


@pytest.mark.parametrize(
    ("place", "offered"),
    [
        ("def read", ["body", "docstring", "test"]),
        ("ead(path", ["body", "docstring", "test"]),
        ("file.read", ["body", "docstring", "test"]),
        ("import", []),
        ("x = 1", []),
    ],
)
def test_inside_a_function_its_body_docstring_and_test_are_offered(place: str, offered: list[str]) -> None:
    assert offered_names(action_request(FUNCTION.replace(place, "█" + place, 1))) == offered


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "@a.b(1)  # why\n@c\ndef f():\n    return 1\n"),
        ("python", "def g():\n    @a(\n        1,\n    )\n    async def f():\n        return 1\n"),
        ("javascript", "export function f() {\n  return 1;\n}\n"),
        ("javascript", "export default async function f() {\n  return 1;\n}\n"),
        ("typescript", "class A {\n  @a\n  @b({\n    c: 1,\n  })\n  f() {\n    return 1;\n  }\n}\n"),
        ("rust", "impl A {\n    #[inline]\n    #[must_use]\n    pub fn f() -> i32 {\n        1\n    }\n}\n"),
        ("java", "class A {\n  @Override\n  public int f() {\n    return 1;\n  }\n}\n"),
    ],
)
def test_decorators_and_modifiers_are_a_part_of_a_function(language: str, text: str) -> None:
    """From the first decorator to the end of the body, each place gets the offers for that function."""
    first = re.search(r"^ *(?:@|#|export)", text, re.MULTILINE)
    assert first is not None
    for at in range(first.end() - 1, text.rindex("1") + 1):
        offers = offer_actions(action_request(f"{text[:at]}█{text[at:]}", language))
        assert next((hole.name for kind, hole in offers if kind.name == "body"), "") == "f", text[:at]


@pytest.mark.parametrize("text", ["█@a\nclass A:\n    def f(self): pass\n", "@a█\n", "█@"])
def test_a_decorator_of_no_function_gets_no_offer(text: str) -> None:
    assert offered_names(action_request(text)) == []


def test_a_rewrite_is_offered_for_a_selection_that_is_not_blank() -> None:
    assert offered_names(action_request(FUNCTION.replace("x = 1", "█x = 1█"))) == ["selection"]
    assert offered_names(action_request(FUNCTION.replace("x = 1", "██x = 1"))) == []
    assert offered_names(action_request("a = 1\n█\n  \n█b = 2\n")) == []


def test_a_rewrite_is_offered_for_the_lines_of_a_diagnostic() -> None:
    assert offered_names(action_request(FUNCTION.replace("open", "█open"), message="no such name")) == ["diagnostic"]
    for blank in (" \n\\\n", "\u00a0", "\u3000\\", "\x1c\r\n\u2028"):
        assert offered_names(action_request(FUNCTION.replace("open", "█open"), message=blank)) == []
    assert (
        offered_names(action_request("{\n█  'a': 1\n}\n", "json", message="no such quote")) == []
    )  # JSON has no comments for the message


def test_no_rewrite_is_offered_for_too_many_lines() -> None:
    lines = [f"x{n} = {n}\n" for n in range(MAX_LINES + 1)]
    assert offered_names(action_request("█" + "".join(lines[:-1]) + "█")) == ["selection"]
    assert offered_names(action_request("█" + "".join(lines) + "█")) == []
    body = "".join(f"    {line}" for line in lines)
    assert offered_names(action_request(f"def f():█\n{body}")) == ["docstring", "test"]


@pytest.mark.parametrize(
    ("text", "language", "is_there"),
    [
        ('def f():█\n    """There."""\n', "python", True),
        ("def f():█\n    'There.'\n    pass\n", "python", True),
        ('def f():█\n    r"""There.\n\n    More."""\n    pass\n', "python", True),
        ("def f(): █pass\n", "python", True),
        ("// There.\nfunc f() {█\n}\n", "go", True),
        ("package a\n\nfunc f() {█\n}\n", "go", False),
        ("/// There.\nfn f() {█}\n", "rust", True),
        ("/**\n * There.\n */\nfunction f() {█}\n", "javascript", True),
        ("/* There. */\nfunction f() {█}\n", "javascript", True),
        ("/* no */ function f() {█}\n", "javascript", True),
        ("let x; /* no */\nfunction f() {█}\n", "javascript", False),
        ("// no\nfunction f() {█}\n", "javascript", False),
        ("/*\nThere.\n*/\nfunc f() {█\n}\n", "go", True),
        ("/*\nno\n*/\n\nfunc f() {█\n}\n", "go", False),
        ("/** There. */\n#[inline]\nfn f() {█}\n", "rust", True),
        ("/**\r\n There. */\r\nfunc f() {█}\r\n", "swift", True),
        ("class A {\n  /** There. */\n  [B]\n  int F() {█}\n}\n", "csharp", True),
        ("=begin\nThere.\n=end\ndef f█\nend\n", "ruby", True),
        ("#!/bin/sh\nf() {█\n  :\n}\n", "shellscript", False),
        ("function f() {█}\n", "javascript", False),
        ("f█ x = x\n", "haskell", True),
    ],
)
def test_a_docstring_is_offered_for_functions_without_one(text: str, language: str, is_there: bool) -> None:  # noqa: FBT001
    assert ("docstring" in offered_names(action_request(text, language))) != is_there


BODIES = [
    "x = 1",
    '"""Do it."""',
    '"""Do it."""  # noqa: D400\n    return 1',
    '"""Do it.\n\n    More.\n    """ # why\n    return 1',
    "r'Do it.'\n    return 1",
    '"Do \\"it\\"."\n    return 1',
    '"""Do \\""" it."""\n    return 1',
    '"""Do it."""; x = 1\n    return x',
    '# why\n    """Do it."""\n    return 1',
    '("Do it."\n     "More.")  # why\n    return 1',
    '(  # why\n        "Do it."\n    )\n    return 1',
    '"Do it." \\\n    "More."\n    return 1',
    "'no'.join([])",
    "'no' % 1\n    return 1",
    "('no',)",
    "-len('no')",
    "'no' if x else 'neither'",
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("body", BODIES)
async def test_a_docstring_is_what_python_says_it_is(prompts: PromptModel, body: str, line_end: str) -> None:
    """A function gets a docstring if it has none, and a new body keeps the one that it has."""
    text = f"def f(x):\n    {body}\n".replace("\n", line_end)
    documented = ast.get_docstring(_function(text))
    at = action_request(text.replace("(x)", "(█x)"))
    assert ("docstring" in offered_names(at)) == (documented is None)
    run = await run_action(prompts, "body", at, "return 2\n")
    assert ast.get_docstring(_function(run.text)) == documented
    assert "return 2" in run.text


def _function(text: str) -> ast.FunctionDef:
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function


@pytest.mark.parametrize("text", ['def f(): "Do it."█\n', "def f(): 'Do it.'; return█ 1\n"])
def test_nothing_is_written_below_a_docstring_on_the_headers_line(text: str) -> None:
    assert offered_names(action_request(text)) == ["test"]


@pytest.mark.parametrize(
    ("uri", "is_offered"),
    [("file:///src/a.py", True), ("file:///src/test_a.py", False), ("untitled:Untitled-1", False)],
)
def test_a_test_is_offered_except_in_files_of_tests(uri: str, is_offered: bool) -> None:  # noqa: FBT001
    assert ("test" in offered_names(action_request("def f():█\n    pass\n", uri=uri))) == is_offered


@pytest.mark.parametrize(
    ("language", "text", "name"),
    [
        ("python", "class A:\n    def f(self):\n        def g():\n            return █1\n", "A.f"),
        ("javascript", "function f() {\n  const g = () => { █ };\n}\n", "f"),
        ("go", "package a\n\nfunc f() {\n\tg := func() {\n\t\t█\n\t}\n}\n", "f"),
        ("typescript", "class A {\n  f = () => { █ };\n}\n", "A.f"),
    ],
)
def test_a_test_is_for_a_function_that_other_files_can_reach(language: str, text: str, name: str) -> None:
    offers = offer_actions(action_request(text, language, uri="file:///a/b.x"))
    assert next(hole.name for kind, hole in offers if kind.name == "test") == name


@pytest.mark.parametrize("language", ["plaintext", "json", "markdown", "cobol", "unheard-of"])
def test_nothing_is_offered_for_functions_in_languages_without_queries(language: str) -> None:
    assert offered_names(action_request("def f():█\n    pass\n", language)) == []
    assert offered_names(action_request("def █f():█\n    pass\n", language)) == ["selection"]


# Edits


@pytest.mark.parametrize(
    ("language", "text", "writes", "expected"),
    [
        ("python", "def f(x):█\n    pass\n\n\ny = 1\n", "return x\n\n\nz = 2", "def f(x):\n    return x\n\n\ny = 1\n"),
        ("python", "def f(x):\n    █\n\ny = 1\n", "return x\n", "def f(x):\n    return x\n\ny = 1\n"),
        ("python", "def f(x):█", "return x\n", "def f(x):\n    return x"),
        ("python", "def f(x): █return 1\n\ny = 1\n", "return x\n", "def f(x):\n    return x\n\ny = 1\n"),
        (
            "python",
            'class A:\n  def f(█self):\n    """Do it."""\n    a = 1\n\n    b = 2\n\n  def g(self):\n    pass\n',
            "c = 3\n\n    d = 4\n\n  def g(self):",
            'class A:\n  def f(self):\n    """Do it."""\n    c = 3\n\n    d = 4\n\n  def g(self):\n    pass\n',
        ),
        (
            "python",
            "def f(x):  # why█\r\n\tpass\r\ny\r\n",
            "if x:\n\t\treturn",
            "def f(x):  # why\r\n\tif x:\r\n\t\treturn\r\ny\r\n",
        ),
        ("javascript", "f = () => {█};\n", "return 1;\n}", "f = () => {\n    return 1;\n};\n"),
        (
            "javascript",
            "class A {\n  █f(x) {\n  }\n}\n",
            "return x;\n  }\n}\n",
            "class A {\n  f(x) {\n    return x;\n  }\n}\n",
        ),
        ("rust", "fn f() -> i32 { █0 }\n", "1\n}\n", "fn f() -> i32 {\n    1\n}\n"),
        (
            "c",
            "int f(int x)\n{\n█\treturn 0;\n}\n\nint y;\n",
            "return x;\n}\n\nint y;",
            "int f(int x)\n{\n\treturn x;\n}\n\nint y;\n",
        ),
        ("ruby", "def f(x)\n█  0\nend\n\nputs 1\n", "x\nend\n", "def f(x)\n  x\nend\n\nputs 1\n"),
        ("ruby", "def f(x)█\nend\n", "x\nend\n", "def f(x)\n    x\nend\n"),
        ("lua", "function f(x)█\n  return 0\nend\n", "return x\nend\n", "function f(x)\n  return x\nend\n"),
        # what follows the body is no part of it, even if it has braces
        (
            "javascript",
            'it("a", () => {\n  █x();\n}, { timeout: 5 });\n',
            "y();\n}\n",
            'it("a", () => {\n  y();\n}, { timeout: 5 });\n',
        ),
        (
            "csharp",
            "class A {\n  public B C {\n    █get;\n  } = new() { 1 };\n}\n",
            "get; set;\n  }\n",
            "class A {\n  public B C {\n    get; set;\n  } = new() { 1 };\n}\n",
        ),
        (
            "swift",
            "struct A {\n  var b: C {\n    █D()\n  }\n}\n",
            "E()\n  }\n",
            "struct A {\n  var b: C {\n    E()\n  }\n}\n",
        ),
        ("r", 'test_that("a", {\n  █x\n})\n', "y\n})\n", 'test_that("a", {\n  y\n})\n'),
        ("powershell", "function f {\n  █1\n}\n", "2\n}\n", "function f {\n  2\n}\n"),
    ],
)
async def test_a_body_is_replaced(prompts: PromptModel, language: str, text: str, writes: str, expected: str) -> None:
    assert (await run_action(prompts, "body", action_request(text, language), writes)).text == expected


@pytest.mark.parametrize("text", ["f = x => x█ + 1;\n", "interface A {\n  f(█): number;\n}\n"])
def test_a_function_without_a_block_gets_no_offer_for_its_body(text: str) -> None:
    assert "body" not in offered_names(action_request(text, "typescript"))


@pytest.mark.parametrize(
    ("text", "writes", "expected"),
    [
        ("a = 1\nb█ = █2\nc = 3\n", "b = 5\nc = 3\nd = 4\n", "a = 1\nb = 5\nc = 3\n"),
        ("a = 1\n█b = 2\n\nc = 3\n█d = 4\n", "x = 1\n\ny = 2\nd = 4\n", "a = 1\nx = 1\n\ny = 2\nd = 4\n"),
        ("if a:\n  █\n    b = 2\n\n█c = 3\n", "d = 4\ne = 5\n", "if a:\n  \n    d = 4\n\nc = 3\n"),
        ("é = 'ö█'█\n", "ü = 'ß'\n", "ü = 'ß'\n"),
    ],
)
async def test_selected_lines_are_replaced(prompts: PromptModel, text: str, writes: str, expected: str) -> None:
    run = await run_action(prompts, "selection", action_request(text), writes)
    assert run.text == expected


@pytest.mark.parametrize(
    ("language", "text", "writes", "expected"),
    [
        (
            "python",
            "def f(x):█\n  return x\n",
            'Return x.\n\n  As it is."""\n  return',
            'def f(x):\n  """Return x.\n\n  As it is."""\n  return x\n',
        ),
        ("python", "def f(x):\n    █", "Return.", 'def f(x):\n    """Return."""\n    '),
        (
            "go",
            "package a\n\nfunc f() {█\n}\n",
            "f does.\n// More.\nfunc f() {\n",
            "package a\n\n// f does.\n// More.\nfunc f() {\n}\n",
        ),
        (
            "rust",
            "impl A {\n    #[inline]\n    fn f() {█}\n}\n",
            "Do.\n    #[inline]\n",
            "impl A {\n    /// Do.\n    #[inline]\n    fn f() {}\n}\n",
        ),
        (
            "javascript",
            "class A {\n  f(█) {\n  }\n}\n",
            "Do.\n   * @return 1 */\n  f",
            "class A {\n  /**\n   * Do.\n   * @return 1\n   */\n  f() {\n  }\n}\n",
        ),
        (
            "ruby",
            "x = 1\r\ndef f(x)█\r\n  x\r\nend\r\n",
            "Do.\n# More.\nx = 2\n",
            "x = 1\r\n# Do.\r\n# More.\r\ndef f(x)\r\n  x\r\nend\r\n",
        ),
    ],
)
async def test_a_docstring_is_inserted(
    prompts: PromptModel, language: str, text: str, writes: str, expected: str
) -> None:
    assert (await run_action(prompts, "docstring", action_request(text, language), writes)).text == expected


async def test_the_prompt_has_the_text_around_the_hole_and_not_the_hidden_text(prompts: PromptModel) -> None:
    run = await run_action(
        prompts, "body", action_request(FUNCTION.replace("read(path)", "read(█path)")), "return path"
    )
    assert "with open" not in run.prompt
    assert "def read(path):\n" in run.prompt
    assert "x = 1\n" in run.prompt


async def test_a_diagnostics_message_is_a_comment_in_the_prompt_only(prompts: PromptModel) -> None:
    text = "def f():\n    return raed(█1)\n\n\ny = 1\n"
    run = await run_action(
        prompts, "diagnostic", action_request(text, message="no raed:\n  did you mean read?\\\n"), "return read(1)\n"
    )
    assert "    # no raed:\n    #   did you mean read?\n" in run.prompt
    assert "raed(1)" not in run.prompt
    assert run.text == "def f():\n    return read(1)\n\n\ny = 1\n"
    assert run.hole.name == "no raed:"


def test_a_long_message_is_cut() -> None:
    trace = "".join(f"frame {n} {'x' * 500}\n\n" for n in range(300))
    hint = hole_of("diagnostic", action_request("a = █b\n", message=trace)).hint.decode().splitlines()
    assert len(hint) == MAX_HINT_LINES
    assert all(line.startswith("# frame") and len(line) <= MAX_HINT_CHARACTERS + 2 for line in hint)
    assert "frame 0 " in hint[0]
    assert "frame 299 " in hint[-1]


@pytest.mark.parametrize("writes", ["", "   \n\n", "password = 'hunter2hunter2'\n", ")\n"])
async def test_an_answer_without_usable_text_has_a_reason(prompts: PromptModel, writes: str) -> None:
    rewrite = (await run_action(prompts, "selection", action_request("a = 1\n█b = 2█\nc = 3\n"), writes)).rewrite
    assert (rewrite.text, rewrite.completion.reason != "") == ("", True)


async def test_a_loop_of_lines_is_cut_to_its_first_turn(prompts: PromptModel) -> None:
    turn = "if x:\n        raise ValueError(x)\n    "
    run = await run_action(
        prompts, "body", action_request("def f(x):█\n    pass\n\n\ny = 1\n"), "x = 1\n    " + turn * 9
    )
    assert run.text == "def f(x):\n    x = 1\n    if x:\n        raise ValueError(x)\n\n\ny = 1\n"


async def test_similar_lines_are_not_taken_for_a_loop(prompts: PromptModel) -> None:
    body = "f(1)\n    f(2)\n    f(1)\n    f(2)\n    return [0]"
    run = await run_action(prompts, "body", action_request("def f(x):█\n    pass\n\n\ny = 1\n"), body)
    assert run.text == f"def f(x):\n    {body}\n\n\ny = 1\n"


async def test_a_cancelled_action_has_no_text(prompts: PromptModel, engine: LocalEngine) -> None:
    hole = hole_of("body", action_request(FUNCTION.replace("def", "█def")))
    rewrite = await fill_hole(
        hole, completion_request(hole, Model.of(prompts, engine)), Cancellation(is_cancelled=True)
    )
    assert (rewrite.text, rewrite.completion.reason) == ("", "cancelled")


async def test_windows_of_texts_with_a_hole_are_not_stored(prompts: PromptModel) -> None:
    scripted = Model.of(prompts, Scripted(prompts, b"return 1"))
    snapshot = opened("def f():\n    pass\n\n\ny = 1\n")
    await complete(CompletionRequest(snapshot, 13, scripted, DEFAULTS), Cancellation())
    before = dict(scripted.anchors._by_uri)
    hole = hole_of("body", ActionRequest(snapshot, 5, 5))
    await fill_hole(hole, completion_request(hole, scripted), Cancellation())
    assert scripted.anchors._by_uri == before


async def test_a_stored_window_that_shows_the_hidden_text_is_not_used(prompts: PromptModel) -> None:
    """A completion may reuse a window if a few letters behind the cursor differ; here these may be the whole body."""
    scripted = Scripted(prompts, b"return 1")
    model = Model.of(prompts, scripted)
    snapshot = opened("def f():\n    pass\n\n\ny = 1\n")
    await complete(CompletionRequest(snapshot, 13, model, DEFAULTS), Cancellation())
    hole = hole_of("body", ActionRequest(snapshot, 5, 5))
    await fill_hole(hole, completion_request(hole, model), Cancellation())
    prompt = b"".join(map(prompts.tokenizer.piece, scripted.requests[-1].prompt.ids))
    assert b"y = 1" in prompt
    assert b"pass" not in prompt


async def test_prompt_and_answer_fit_a_small_context(prompts: PromptModel) -> None:
    engine, hole = Scripted(prompts, b"return 1"), hole_of("body", action_request(FUNCTION.replace("def", "█def")))
    small = Model.of(evolve(prompts, n_context=256), engine)
    await fill_hole(hole, completion_request(hole, small), Cancellation())
    request = engine.requests[-1]
    assert request.max_new_tokens == 64
    assert len(request.prompt.ids) + request.max_new_tokens <= 256


@pytest.mark.parametrize("source", sorted((Path(__file__).parents[2] / "starcoder_lsp" / "documents").glob("*.py")))
async def test_actions_on_real_files_change_the_hole_only_and_leave_valid_python(
    prompts: PromptModel, source: Path
) -> None:
    """The text around the hole stays byte for byte, and the file with the edit compiles."""
    text = source.read_text()  # noqa: ASYNC240  a small file of this machine
    model, snapshot = Model.of(prompts, Scripted(prompts, b"return None")), opened(text, uri=source.as_uri())
    for match in list(re.finditer(r"^ *def \w+", text, re.MULTILINE))[:12]:
        at = ActionRequest(snapshot, len(text[: match.end()].encode()), len(text[: match.end()].encode()))
        for kind, hole in offer_actions(at):
            if kind.name == "test":
                continue
            rewrite = await fill_hole(hole, completion_request(hole, model), Cancellation())
            data, made = snapshot.text.data, edited_text(rewrite).encode()
            assert made.startswith(data[: hole.start_byte])
            assert made.endswith(data[hole.end_byte :])
            assert b"return None" in made
            compile(made, str(source), "exec", dont_inherit=True)
