"""The VS Code extension declares the server's settings."""

import json
import subprocess
import sys
from pathlib import Path

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
