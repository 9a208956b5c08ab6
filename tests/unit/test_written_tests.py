"""The code action that writes a test: its file by the language's conventions, and its text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.languages import language_for
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.rewrites.rewrite import CannotWriteError
from starcoder_lsp.rewrites.targets import ActionRequest
from starcoder_lsp.rewrites.test_files import find_test_file
from tests.unit.action_runs import (
    action_request,
    hole_of,
    run_action,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("pkg/sub", "tests", "web", "web/__tests__"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def source_in(project: Path, name: str, text: str, language: str = "python") -> tuple[ActionRequest, WorkspaceContext]:
    at = action_request(text, language, uri=(project / name).as_uri())
    return at, WorkspaceContext(project, (at.snapshot,))


async def test_a_test_is_written_to_a_new_file(prompts: PromptModel, project: Path) -> None:
    at, around = source_in(project, "pkg/sub/a.py", "class A:\n    def _go(self):█\n        return 1\n")
    run = await run_action(prompts, "test", at, "():\n    assert A()._go() == 1\n\n\ndef test_x():", around)
    assert run.rewrite.is_new_file
    assert run.rewrite.snapshot.uri == (project / "tests/test_a.py").as_uri()
    assert run.text == "from pkg.sub.a import A\n\n\ndef test_go():\n    assert A()._go() == 1\n"
    assert "# def _go(self):\n#         return 1\n" in run.prompt


async def test_a_test_is_added_to_an_existing_file(prompts: PromptModel, project: Path) -> None:
    there = project / "tests/test_a.py"
    there.write_text("def test_b():\n    pass")
    at, around = source_in(project, "pkg/a.py", "def f():█\n    return 1\n")
    run = await run_action(prompts, "test", at, "():\n    assert f() == 1\n", around)
    assert not run.rewrite.is_new_file
    assert run.text == "def test_b():\n    pass\n\n\ndef test_f():\n    assert f() == 1\n"
    assert run.prompt.index("def test_b") < run.prompt.index("# def f():") < run.prompt.index("def test_f")


@pytest.mark.parametrize("writes", ["_more(expr):\n", "():", "():\n    def g():\n\n", "():\n    class A(B):", "_more"])
async def test_an_incomplete_test_is_dropped(prompts: PromptModel, project: Path, writes: str) -> None:
    at, around = source_in(project, "pkg/a.py", "def f():█\n    return 1\n")
    run = await run_action(prompts, "test", at, writes, around)
    assert run.rewrite.text == ""
    assert run.rewrite.completion.reason in ("not whole", "fitting_syntax")


async def test_a_test_is_added_to_the_editors_text_of_an_open_file(prompts: PromptModel, project: Path) -> None:
    at, around = source_in(project, "pkg/a.py", "def f():█\n    return 1\n")
    tests = Documents().open((project / "tests/test_a.py").as_uri(), "python", 7, "import a\r\n")
    run = await run_action(
        prompts, "test", at, "():\n    assert f()\n", evolve(around, open_documents=(at.snapshot, tests))
    )
    assert run.rewrite.snapshot is tests
    assert not run.rewrite.is_new_file
    assert run.text == "import a\r\n\r\n\r\ndef test_f():\r\n    assert f()\r\n"


async def test_a_file_of_tests_that_the_model_may_not_see_is_an_error(prompts: PromptModel, project: Path) -> None:
    (project / "tests/test_a.py").write_bytes(b"\0")
    at, around = source_in(project, "pkg/a.py", "def f():█\n    return 1\n")
    with pytest.raises(CannotWriteError, match=r"test_a\.py exists, but the model may not see it"):
        await run_action(prompts, "test", at, "(): pass", around)


@pytest.mark.parametrize(
    ("name", "language", "text", "writes", "test_name", "expected"),
    [
        (
            "web/a.ts",
            "typescript",
            "export function f() {█\n  return 1;\n}\n",
            "expect(f()).toBe(1);\n});\n",
            "web/a.test.ts",
            'import { f } from "./a";\n\ntest("f", () => {\n  expect(f()).toBe(1);\n});\n',
        ),
        (
            "web/a.js",
            "javascript",
            "exports.f = function () {█\n  return 1;\n};\n",
            "expect(f()).toBe(1);\n});\n",
            "web/a.test.js",
            'import { f } from "./a";\n\ntest("f", () => {\n  expect(f()).toBe(1);\n});\n',
        ),
        (
            "pkg/a.go",
            "go",
            "// Hello.\npackage pkg\n\nfunc f() int {█\n\treturn 1\n}\n",
            "if f() != 1 {\n\t\tpanic(1)\n\t}\n}\n",
            "pkg/a_test.go",
            'package pkg\n\nimport "testing"\n\nfunc TestF(t *testing.T) {\n\tif f() != 1 {\n\t\tpanic(1)\n\t}\n}\n',
        ),
    ],
)
async def test_tests_follow_the_conventions_of_their_language(
    prompts: PromptModel, project: Path, name: str, language: str, text: str, writes: str, test_name: str, expected: str
) -> None:
    at, around = source_in(project, name, text, language)
    run = await run_action(prompts, "test", at, writes, around)
    assert run.rewrite.snapshot.uri == (project / test_name).as_uri()
    assert run.text == expected


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("pkg/sub/a.py", "from pkg.sub.a import f\n\n\ndef test_f():"),
        ("my-app/a.py", "from a import f\n\n\ndef test_f():"),
        ("my app/pkg/a.py", "from pkg.a import f\n\n\ndef test_f():"),
        ("2024/my-app/a.py", "from a import f\n\n\ndef test_f():"),
        ("lambda/a.py", "from a import f\n\n\ndef test_f():"),
        ("ä/ö.py", "from ä.ö import f\n\n\ndef test_f():"),
        ("pkg/my-script.py", "def test_f():"),
    ],
)
async def test_a_new_file_of_tests_imports_what_a_module_can_be_called(
    prompts: PromptModel, project: Path, name: str, begins: str
) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    at, around = source_in(project, name, "def f():█\n    return 1\n")
    run = await run_action(prompts, "test", at, "():\n    assert f() == 1\n", around)
    assert run.text == f"{begins}\n    assert f() == 1\n"
    compile(run.text, "test", "exec")


@pytest.mark.parametrize("above", ["// A.\n", "/*\nA.\n*/\n\n", "/* A. */ ", "//go:build linux\n\n/* A.\n*/\n// B.\n"])
async def test_the_first_line_of_code_comes_after_comments_of_all_kinds(
    prompts: PromptModel, project: Path, above: str
) -> None:
    at, around = source_in(project, "pkg/a.go", f"{above}package pkg\n\nfunc f() int {{█\n\treturn 1\n}}\n", "go")
    run = await run_action(prompts, "test", at, "f()\n}\n", around)
    assert run.text == 'package pkg\n\nimport "testing"\n\nfunc TestF(t *testing.T) {\n\tf()\n}\n'


@pytest.mark.parametrize("name", ["'a b'", '"a b"', "'a \\' \\\" b'"])
async def test_a_method_whose_name_is_a_string_gets_a_test(prompts: PromptModel, project: Path, name: str) -> None:
    at, around = source_in(project, "web/a.js", f"x = {{\n  {name}() {{█\n    return 1;\n  }}\n}};\n", "javascript")
    run = await run_action(prompts, "test", at, "x;\n});\n", around)
    assert re.fullmatch(r'test\("a +b", \(\) => \{\n  x;\n\}\);\n', run.text)


@pytest.mark.parametrize(
    ("source", "there", "found"),
    [
        ("pkg/sub/a.py", [], ("tests/test_a.py", False)),
        ("pkg/sub/a.py", ["pkg/test_a.py"], ("pkg/test_a.py", True)),
        ("pkg/sub/a.py", ["pkg/sub/tests/test_a.py", "tests/test_a.py"], ("pkg/sub/tests/test_a.py", True)),
        ("web/a.js", [], ("web/a.test.js", False)),
        ("web/a.js", ["web/__tests__/a.test.js"], ("web/__tests__/a.test.js", True)),
    ],
)
def test_the_file_of_tests_is_found_by_convention(
    project: Path, source: str, there: list[str], found: tuple[str, bool]
) -> None:
    for name in there:
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("")
    language = "python" if source.endswith("py") else "javascript"
    testing = language_for(language, "").test
    assert testing is not None
    path, is_there = find_test_file(f"{project}/{source}", str(project), testing)
    assert (path, is_there) == (f"{project}/{found[0]}", found[1])


def test_without_a_workspace_tests_are_written_beside_the_file(tmp_path: Path) -> None:
    at = action_request("def f():█\n    return 1\n", uri=(tmp_path / "a.py").as_uri())
    hole = hole_of("test", at)
    assert (hole.snapshot.uri, hole.is_new_file) == ((tmp_path / "test_a.py").as_uri(), True)
    assert hole.lead.decode().startswith("from a import f\n")
