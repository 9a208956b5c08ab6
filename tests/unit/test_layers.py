"""Imports point one way, and some libraries are imported in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "starcoder_lsp"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each package may import from itself and from those in its row.
STAGES = {
    "suggestions",
    "context",
    "engine",
    "documents",
    "settings",
    "background",
    "black_box",
    "printable",
    "regular_files",
}
PIPELINE = {"completion", "steering", "prompting", *STAGES}
MAY_IMPORT = {
    "cli": {
        "front",
        "lsp",
        "session",
        "models",
        "stats",
        "settings_layers",
        "setting_descriptions",
        "setting_rules",
        "engine_settings",
        "percentile",
        *PIPELINE,
    },
    "lsp": {"front", "session", "models", "stats", "rewrites", "settings_layers", "lru", *PIPELINE},
    "front": {"documents", "black_box"},
    "session": {"models", "stats", "rewrites", "percentile", "lru", *PIPELINE},
    "stats": {"printable", "percentile", "regular_files"},
    "rewrites": PIPELINE,
    "completion": {"steering", "prompting", *STAGES},
    "steering": STAGES,
    "prompting": {"context", "engine", "documents", "settings", "background", "black_box"},
    "suggestions": {"engine", "documents", "settings"},
    "context": {"engine", "documents", "settings", "lru"},
    "models": {"engine", "settings", "printable", "authorities"},
    "engine": {
        "settings",
        "engine_settings",
        "authorities",
        "background",
        "lru",
        "percentile",
        "printable",
        "regular_files",
    },
    "documents": {"settings", "lru", "regular_files", "black_box"},
    "settings_layers": {"settings", "setting_descriptions", "setting_rules", "printable", "regular_files"},
    "setting_descriptions": {"settings", "setting_rules"},
    "settings": {"engine_settings", "setting_rules"},
    "engine_settings": {"setting_rules"},
    "setting_rules": set(),
    "authorities": set(),
    "background": set(),
    "black_box": set(),
    "lru": set(),
    "percentile": set(),
    "printable": set(),
    "regular_files": set(),
    "__main__": {"cli"},
    "__init__": set(),
}
ONLY_IN = {
    "pygls": "lsp",
    "lsprotocol": "lsp",
    "llama_cpp": "engine/local/low_level.py",
    "starcoder_lsp.engine.local.low_level": (
        "engine/local/llama.py",
        "engine/local/adapter.py",
        "engine/local/about.py",
    ),
    "msgspec": ("engine/host", "cli"),
    "filelock": ("engine/host", "models", "stats/keys.py"),
    "httpx2": ("models/transport.py", "engine/remote/http.py"),
    "tomlkit": "models/chosen.py",
    "tree_sitter": "documents",
    "tree_sitter_language_pack": "documents",
    "rich": "cli",
    "starcoder_lsp.lsp.handlers": ("lsp/app.py", "lsp/handlers"),
    "tokenizers": "engine/tokenizer.py",
    "sqlite3": "stats",
    "rapidfuzz": "stats",
    "re2": "documents/linear_patterns.py",
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """Return the imported modules; for `from module import name` also `module.name`, which may be a module."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def names_of(path: Path) -> set[str]:
    """Return each imported name and the packages that contain it."""
    parts = [name.split(".") for name in imported_modules(path)]
    return {".".join(each[:n]) for each in parts for n in range(1, len(each) + 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = part_of(path)
    parts = {name.split(".")[1] for name in imported_modules(path) if name.startswith("starcoder_lsp.")}
    inner = {part for part in parts if part in MAY_IMPORT}
    assert inner - {own} <= MAY_IMPORT[own]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_are_imported_in_their_place_only(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    for name in names_of(path) & set(ONLY_IN):
        assert relative.startswith(ONLY_IN[name]), f"{name} belongs into {ONLY_IN[name]}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checkers and imports inside functions count, too."""
    modules = {module_of(path): path for path in FILES}
    graph = {}
    for module, path in modules.items():
        imported = imported_modules(path) & set(modules)
        packages = {name for name in imported if any(other.startswith(f"{name}.") for other in imported)}
        graph[module] = imported - packages - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_names_a_language_or_a_model() -> None:
    languages = {'"python"', '"javascript"', '"rust"', "'python'"}
    for path in FILES:
        source = path.read_text()
        assert not any(language in source for language in languages), path
        if path.name != "families.py":
            assert "fim_middle" not in source, path


def test_the_front_imports_next_to_nothing() -> None:
    """A library that it does not import can neither crash it nor slow down its start."""
    program = "import sys, starcoder_lsp.cli.serve; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout  # noqa: S603
    names = {name.partition(".")[0] for name in loaded.split()}
    assert names.isdisjoint({"asyncio", "attrs", "pygls", "lsprotocol", "tree_sitter", "re2", "tokenizers", "msgspec"})
    assert names.isdisjoint({"argparse", "hmac"})  # a plain `serve` needs no parser of options
    ours = {name for name in loaded.split() if name.startswith("starcoder_lsp.")}
    beside = {"starcoder_lsp.black_box", "starcoder_lsp.documents", "starcoder_lsp.documents.uris"}
    beside |= {"starcoder_lsp.cli", "starcoder_lsp.cli.serve", "starcoder_lsp.regular_files"}
    assert {name for name in ours - beside if not name.startswith("starcoder_lsp.front")} == set()
