"""VS Code: the offer at the first suggestion leads to a model in use, and so does the walkthrough's command."""

import os
import re
import tomllib

import pytest

from tests.catalogue_hub import NAME_IN_FILE, catalogue_hub
from tests.editors.vscode_workbench import install, workbench
from tests.hub import serving

pytestmark = pytest.mark.timeout(900)  # the first test installs VS Code
TYPED = "def read(path):\n    with open(path) as file:\n    return "


def test_the_buttons_get_a_model(tmp_path):
    wanted = os.environ.get("STARCODER_TEST_EDITORS", "")
    if wanted != "all" and "vscode" not in wanted:
        pytest.skip("VS Code (1.2 GB) is installed and driven where STARCODER_TEST_EDITORS names vscode or is all")
    with serving(catalogue_hub()) as hub, workbench(install(), tmp_path, hub.endpoint) as code:
        code.until_status("ready")
        code.wakes()
        offer = code.toast("demonstrator")
        code.until(lambda: offer.count() or code.type("x"))
        offer.get_by_role("button", name=re.compile("Get StarCoder2 3B")).click()
        licence = code.toast("OpenRAIL")
        licence.wait_for()
        code.picture("licence")
        licence.get_by_role("button", name="Accept and download").click()
        code.until(lambda: f"{NAME_IN_FILE} is ready" in str(code.log.messages("server")))
        code.until_status("ready")
        code.open("read.py", TYPED)
        code.type("f")
        assert code.ghost()
        settings = tomllib.loads((tmp_path / ".config/starcoder-lsp/starcoder-lsp.toml").read_text())
        assert settings["model"] == {"name": "starcoder2-3b"}
        assert len(hub.requests("bytes")) == 1
        code.command("StarCoder: Get a Model…")
        code.toast("which model?").get_by_role("button", name="Not now").click()
