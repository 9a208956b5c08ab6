"""The README and the pages in `docs/` are true: their settings, their example, and the files that they name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from starcoder_lsp.cli.settings import settings_table
from starcoder_lsp.documents.languages import all_languages
from tests.e2e.conftest import ENVIRONMENT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
PROGRAMS = (ROOT / "docs" / "programs.md").read_text()
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "*/*.md", "bench/*/*.md", "editor-configs/*/*.md")
    for path in ROOT.glob(pattern)
)
MAX_README_LINES = 100
"""The README is one or two screens; everything else is behind a link."""


def test_the_table_of_settings_is_the_tree_of_settings() -> None:
    assert settings_table() in SETTINGS, "run `make settings`"


@pytest.mark.timeout(600)  # a server and pytest start, which takes half a minute each on a busy machine
def test_the_example_has_at_most_twenty_lines_that_count_and_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PROGRAMS, re.DOTALL)
    assert len([line for line in example.split("\n") if line.strip()]) <= 20
    test = tmp_path / "test_example.py"
    test.write_text(example)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    program = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(test)]
    ran = subprocess.run(  # noqa: S603  our own example
        program, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_the_example_of_complete_writes_what_the_page_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    (example,) = re.findall(r"\$ printf '(.*?)' > (\S+)\n\$ starcoder-lsp complete (\S+)\n(.*?\n)```", page, re.DOTALL)
    text, name, place, shown = example
    (tmp_path / name).write_text(text.replace("\\n", "\n"))
    command = [sys.executable, "-m", "starcoder_lsp", "complete", place]
    ran = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)  # noqa: S603
    assert (ran.stdout, ran.stderr) == (shown, "")


def test_the_page_on_suggestions_counts_the_languages_with_queries() -> None:
    n_languages = sum(bool(language.queries) for language in all_languages())
    assert f"in {n_languages} languages" in (ROOT / "docs" / "suggestions.md").read_text()


def test_the_commands_to_install_name_an_existing_file() -> None:
    commands = re.findall(r"`(CMAKE_ARGS=.*? pipx install \.)`", README)
    assert len(commands) == 3
    for command in commands:
        (target,) = re.findall(r"CMAKE_PROJECT_llama_cpp_INCLUDE='\$PWD/(.*?)'", command)
        assert (ROOT / target).is_file()


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)", re.sub(r"(?ms)^```.*?^```", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_existing_files_and_headings(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s:]+)\)", path.read_text()):
        target, _, anchor = link.partition("#")
        there = path.parent / target if target else path
        assert there.exists(), link
        assert not anchor or anchor in anchors_of(there), link


def test_no_page_has_marks_of_a_merge_conflict() -> None:
    assert "bench/README.md" in PAGES
    marks = re.compile(r"^(?:<<<<<<< |>>>>>>> |=======$)", re.MULTILINE)
    assert not [page for page in PAGES if marks.search((ROOT / page).read_text())]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_every_path_in_the_code_map_exists_and_every_module_is_on_it() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    code_map = architecture.partition("## Code map")[2].partition("## Invariants")[0]
    package = ROOT / "starcoder_lsp"
    rows = re.findall(r"^\| (.*?) \|", code_map, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    for name in named:
        assert (package / name).exists() or (ROOT / name).exists(), name
    for module in package.rglob("*.py"):
        relative = module.relative_to(package).as_posix()
        if relative not in ("__init__.py", "__main__.py") and not relative.endswith("/__init__.py"):
            assert relative in named or relative.startswith("cli/"), relative
