"""Getting a real model in an editor: by the command line, by a command, and by messages with buttons."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from tests.catalogue_hub import NAME_IN_FILE, catalogue_hub
from tests.editors.conftest import EDITORS, LINE, OFFER, Desk, block
from tests.editors.terminal import until
from tests.editors.test_emacs import leave as leave_emacs
from tests.editors.test_emacs import on_the_empty_line as emacs_with_starcoder
from tests.editors.test_helix import escape as escape_helix
from tests.editors.test_helix import in_insert_mode as helix_in_insert_mode
from tests.editors.test_helix import leave as leave_helix
from tests.editors.test_neovim import escape, leave
from tests.hub import FakeHub, Fault, serving

TYPED = "    with op"
NAME = "starcoder2-3b"


@pytest.fixture
def hub(desk: Desk) -> Iterator[FakeHub]:
    """The hub of the desk's server, without requests so far."""
    with serving(catalogue_hub()) as hub:
        server = desk.home / "bin" / "starcoder-lsp"
        exports = f"export HF_ENDPOINT={hub.endpoint} no_proxy=127.0.0.1"
        server.write_text(server.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{exports}\n"))
        (desk.home / OFFER).unlink()
        yield hub


def start(desk: Desk, kind: str) -> None:
    desk.write(".config/nvim/init.lua", block("Neovim", "lua"))
    desk.start(str(EDITORS / "bin" / kind), f"+{LINE}", desk.file.name)
    desk.terminal.shows("starcoder: ready")


def loaded(desk: Desk) -> str:
    return str(
        [each for each in desk.log.messages("server") if each.get("method") in {"$/progress", "window/logMessage"}]
    )


def questions(desk: Desk) -> list[Any]:
    return [each for each in desk.log.messages("server") if each.get("method") == "window/showMessageRequest"]


def check_in_use(desk: Desk) -> None:
    """Check that the pulled model writes the ghost text, and that the settings name it."""
    check_chosen(desk)
    desk.terminal.shows("starcoder: ready")
    desk.terminal.type("S" + TYPED.strip())
    desk.suggests(TYPED)


def check_chosen(desk: Desk) -> None:
    """Check that the pulled model runs, and that the settings name it."""
    until(lambda: f"{NAME_IN_FILE} is ready" in loaded(desk), desk.log.summary)
    settings = tomllib.loads((desk.home / ".config/starcoder-lsp/starcoder-lsp.toml").read_text())
    assert settings["model"] == {"name": NAME}


@pytest.mark.parametrize("kind", ["nvim", "nvim-0.10"])
def test_a_model_pulled_on_the_command_line_is_used(desk: Desk, hub: FakeHub, kind: str) -> None:
    desk.run(f'PATH="$HOME/bin:$PATH"; starcoder-lsp models pull {NAME} --accept-licence')
    start(desk, kind)
    check_in_use(desk)
    assert len(hub.requests("bytes")) == 1
    assert not questions(desk)
    leave(desk)


@pytest.mark.parametrize("kind", ["nvim", "nvim-0.10"])
def test_the_buttons_get_a_model(desk: Desk, hub: FakeHub, kind: str) -> None:
    terminal = desk.terminal
    start(desk, kind)
    terminal.type("S" + TYPED.strip())
    desk.suggests(TYPED)
    terminal.shows("a question waits")
    terminal.keys("Escape")
    terminal.shows("Get StarCoder2 3B (1.8 GB)")
    terminal.shows("Not now")
    terminal.type("1\n")
    terminal.shows("Accept and download")
    terminal.shows("Attachment A")
    terminal.type("1\n")
    until(lambda: f"{NAME_IN_FILE} is ready" in loaded(desk), desk.log.summary)
    assert len(hub.requests("bytes")) == 1
    check_in_use(desk)
    leave(desk)


def test_a_cancelled_download_is_resumed(desk: Desk, hub: FakeHub) -> None:
    terminal = desk.terminal
    hold_at = DEMONSTRATOR.stat().st_size * 55 // 100
    hub.faults.append(Fault(hold_at=hold_at))
    start(desk, "nvim")
    terminal.type(f":Starcoder pullModel {NAME}\n")
    terminal.shows("Accept and download")
    terminal.type("1\n")
    terminal.shows(f"downloading {NAME} 5")
    terminal.type(":Starcoder cancel\n")
    terminal.shows("was cancelled")
    terminal.keys("Enter")
    hub.lets_go.set()
    terminal.type(f":Starcoder pullModel {NAME}\n")
    until(lambda: f"{NAME_IN_FILE} is ready" in loaded(desk), desk.log.summary)
    first = int(hub.ranges()[1].removeprefix("bytes=").rstrip("-"))
    assert hold_at - 1_000_000 < first <= hold_at
    terminal.keys("Enter", "Escape")
    check_in_use(desk)
    leave(desk)


def test_the_button_not_now_declines_the_offer(desk: Desk, hub: FakeHub) -> None:
    terminal = desk.terminal
    start(desk, "nvim")
    terminal.type("S" + TYPED.strip())
    desk.suggests(TYPED)
    terminal.shows("a question waits")
    terminal.keys("Escape")
    terminal.shows("Not now")
    terminal.type("4\n")
    offer = desk.home / OFFER
    until(offer.exists, desk.log.summary)
    assert not hub.seen
    terminal.keys("Enter")
    escape(desk)
    leave(desk)


def test_emacs_gets_a_model_by_its_command(desk: Desk, hub: FakeHub) -> None:
    terminal = desk.terminal
    emacs_with_starcoder(desk)
    terminal.keys("M-x")
    terminal.type("starcoder-pull-model\n")
    terminal.shows("which model?")
    terminal.type("Get StarCoder2 3B (1.8 GB)")
    terminal.keys("Tab", "Enter")
    terminal.shows("The whole text")
    terminal.type("Acc")
    terminal.keys("Tab")
    until(lambda: "Accept and download" in terminal.screen().replace("\\\n", ""), terminal.screen)
    terminal.keys("Enter")
    check_chosen(desk)
    assert len(hub.requests("bytes")) == 1
    terminal.type(TYPED)
    desk.suggests(TYPED)
    terminal.keys("C-x", "C-s")
    desk.holds(TYPED)
    leave_emacs(desk)


def test_helix_gets_a_model_by_its_command(desk: Desk, hub: FakeHub) -> None:
    terminal = desk.terminal
    helix_in_insert_mode(desk)
    escape_helix(desk)
    terminal.type(":lsp-workspace-command starcoder.pullModel\n")
    terminal.shows("which model?")
    terminal.keys("Enter")
    terminal.shows("Accept and download")
    terminal.keys("Enter")
    check_chosen(desk)
    assert len(hub.requests("bytes")) == 1
    terminal.keys("i")
    terminal.type(TYPED)
    until(lambda: desk.log.answers("textDocument/completion"), desk.log.summary)
    escape_helix(desk)
    leave_helix(desk)
