"""Writes the server's settings, their limits and descriptions into `package.json`, which VS Code shows to people.

`python generate_settings.py` writes, `--check` only says whether there would be a change: exit code 1.
"""
# ruff: noqa: INP001

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from starcoder_lsp import __version__
from starcoder_lsp.setting_descriptions import SettingDescription, describe_settings
from starcoder_lsp.settings import SECTION

MANIFEST = Path(__file__).with_name("package.json")


def schema_of(setting: SettingDescription, keys: frozenset[str]) -> dict[str, Any]:
    """A setting as JSON Schema with VS Code's own additions.

    `machine` is the scope that no workspace can set. `machine-overridable` marks limits of this machine, which a
    workspace can only lower.
    """
    schema: dict[str, Any] = {"type": setting.type_name, "default": setting.default}
    if setting.type_name == "array of strings":
        schema |= {"type": "array", "items": {"type": "string"}}
    if setting.choices:
        schema["enum"] = list(setting.choices)
    if setting.limits:
        schema["minimum"], schema["maximum"] = setting.limits
    if setting.trusted_only:
        schema["scope"] = "machine"
    elif setting.can_only_be_lowered:
        schema["scope"] = "machine-overridable"
    return schema | {"markdownDescription": linked(setting.description, keys)}


def linked(description: str, keys: frozenset[str]) -> str:
    """The description with the names of other settings as links, in VS Code's notation."""
    return re.sub(
        r"`([\w.]+)`", lambda m: f"`#{SECTION}.{m[1]}#`" if f"{SECTION}.{m[1]}" in keys else m[0], description
    )


def generated(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the server's version and settings; what has no effect yet is left out."""
    settings = list(describe_settings())
    keys = frozenset(setting.key for setting in settings)
    own, of_the_server = manifest["contributes"]["configuration"]
    of_the_server = of_the_server | {"properties": {setting.key: schema_of(setting, keys) for setting in settings}}
    contributes = manifest["contributes"] | {"configuration": [own, of_the_server]}
    return manifest | {"version": __version__, "contributes": contributes}


def main() -> int:
    """Write or check."""
    before = json.loads(MANIFEST.read_text("utf-8"))
    after = generated(before)
    if after == before:
        return 0
    if "--check" in sys.argv:
        print(f"{MANIFEST.name} is not what the settings say: run {Path(__file__).name}", file=sys.stderr)
        return 1
    MANIFEST.write_text(json.dumps(after, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
