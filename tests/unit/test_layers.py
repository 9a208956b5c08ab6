"""Imports point one way, and the third-party names that belong to one place stay there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "starcoder_lsp"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each may import from itself and from what stands after it in its row.
STAGES = {"suggestions", "context", "engine", "documents", "settings", "background"}
MAY_IMPORT = {
    "cli": {"lsp", "actions", "completion", "prompting", "settings_layers", *STAGES},
    "lsp": {"actions", "completion", "prompting", "settings_layers", *STAGES},
    "actions": {"completion", "prompting", *STAGES},
    "completion": {"prompting", *STAGES},
    "prompting": {"context", "engine", "documents", "settings", "background"},
    "suggestions": {"engine", "documents", "settings"},
    "context": {"engine", "documents", "settings"},
    "engine": {"settings", "background"},
    "documents": {"settings"},
    "settings_layers": {"settings"},
    "settings": set(),
    "background": set(),
    "__main__": {"cli"},
    "__init__": set(),
}
ONLY_IN = {
    "pygls": "lsp",
    "lsprotocol": "lsp",
    "llama_cpp": "engine/local/llama.py",
    "msgspec": ("engine/host", "cli"),
    "filelock": "engine/host",
    "tree_sitter": "documents",
    "tree_sitter_language_pack": "documents",
    "rich": "cli",
    "tokenizers": "engine/tokenizer.py",
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = part_of(path)
    parts = {name.split(".")[1] for name in imported_modules(path) if name.startswith("starcoder_lsp.")}
    inner = {part for part in parts if part in MAY_IMPORT}
    assert inner - {own} <= MAY_IMPORT[own]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_place(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    for name in {name.split(".")[0] for name in imported_modules(path)}:
        if name in ONLY_IN:
            assert relative.startswith(ONLY_IN[name]), f"{name} belongs into {ONLY_IN[name]}"


def test_no_module_names_a_language_or_a_model() -> None:
    languages = {'"python"', '"javascript"', '"rust"', "'python'"}
    for path in FILES:
        source = path.read_text()
        assert not any(language in source for language in languages), path
        if path.name != "fim.py":
            assert "fim_middle" not in source, path
