"""The VS Code extension declares the server's settings."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from starcoder_lsp.setting_descriptions import describe_settings
from starcoder_lsp.settings_layers import SettingsLayer, read_settings

EXTENSION = Path(__file__).parents[2] / "editor-configs" / "vscode"


def test_extension_has_the_servers_settings():
    command = [sys.executable, str(EXTENSION / "generate_settings.py"), "--check"]
    subprocess.run(command, check=True)  # noqa: S603  our own


def test_a_workspace_cannot_set_a_program_a_model_or_an_address():
    own, of_the_server = json.loads((EXTENSION / "package.json").read_text("utf-8"))["contributes"]["configuration"]
    schemas = own["properties"] | of_the_server["properties"]
    scopes = {key: schema.get("scope") for key, schema in schemas.items()}
    theirs = {key for key in scopes if key in ("starcoder.server.path", "starcoder.model.path") or ".engine." in key}
    assert theirs >= {"starcoder.server.path", "starcoder.model.path"}
    assert {scopes[key] for key in theirs} == {"machine"}


def test_limits_that_a_workspace_can_only_lower_are_those_of_a_machine():
    _, of_the_server = json.loads((EXTENSION / "package.json").read_text("utf-8"))["contributes"]["configuration"]
    for setting in describe_settings():
        later = read_settings([SettingsLayer("later", _nested(setting.key, setting.limits), trusted=False)])
        is_lowered = any("only you can raise it" in problem for problem in later[1])
        scope = of_the_server["properties"][setting.key].get("scope")
        assert (scope == "machine-overridable") == is_lowered, setting.key


def _nested(key: str, limits: tuple[float, float] | None) -> Any:
    """Return the section with the highest value of a setting that has limits."""
    value: Any = limits and limits[1]
    for part in reversed(key.split(".")):
        value = {part: value}
    return value["starcoder"]
