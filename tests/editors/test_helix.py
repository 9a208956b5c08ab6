"""Helix: suggestions are entries of its completion menu, beside those of another server."""

from __future__ import annotations

import re
import sys

import pytest

from tests.editors.conftest import EDITORS, FOLDER, LINE, Desk, block
from tests.editors.other_server import WORD
from tests.editors.terminal import until

TYPED = "    with op"
ENTRY = re.compile(r"(open.*?) +(?:text|function) *$", re.MULTILINE)
ANOTHER = f"#!/bin/sh\nexec {sys.executable} {FOLDER}/other_server.py\n"


@pytest.fixture
def helix(desk: Desk) -> Desk:
    """In insert mode, on the empty line."""
    desk.write("bin/pylsp", ANOTHER)
    (desk.home / "bin" / "pylsp").chmod(0o755)
    (desk.home / ".config" / "helix").mkdir(parents=True)
    desk.run(block("Helix", "sh"))
    desk.start(str(EDITORS / "bin" / "hx"), f"{desk.file.name}:{LINE}")
    desk.terminal.keys("i")
    desk.terminal.shows("INS")
    return desk


def suggested(helix: Desk) -> list[str]:
    """What the entries of the last answer would leave of the line."""
    answers = helix.log.answers("textDocument/completion")
    return ["    with " + item["textEdit"]["newText"] for item in answers[-1]["items"]] if answers else []


def entries(helix: Desk) -> list[str]:
    """The lines of the menu on the screen."""
    return ENTRY.findall(helix.terminal.screen())


def save(helix: Desk) -> None:
    escape(helix)
    helix.terminal.type(":w\n")


def escape(helix: Desk) -> None:
    helix.terminal.keys("Escape")  # what follows at once would be taken for a key with Alt
    helix.terminal.shows(" NOR ")


def has_menu(helix: Desk, n_entries: int) -> None:
    until(lambda: len(entries(helix)) == n_entries, helix.terminal.screen)


def test_shows_accepts_and_undoes(helix: Desk) -> None:
    terminal = helix.terminal
    terminal.type(TYPED)
    has_menu(helix, 3)
    whole, first_line = suggested(helix)
    assert whole.startswith(first_line + "\n")
    label = first_line.removeprefix("    with ")
    assert entries(helix) == [f"{label} …", label, WORD]
    terminal.keys("Tab")
    terminal.shows(whole.split("\n")[1])
    helix.keep("helix")
    terminal.keys("Enter")
    save(helix)
    helix.holds(whole)
    terminal.type("u:w\n")
    helix.holds(TYPED)
    terminal.type("u:w\n")
    helix.holds("")
    helix.leave(":qa!", "Enter")


def test_a_single_line_stands_beside_it(helix: Desk) -> None:
    helix.terminal.type(TYPED)
    has_menu(helix, 3)
    helix.terminal.keys("Tab", "Tab", "Enter")
    save(helix)
    helix.holds(suggested(helix)[1])
    helix.leave(":qa!", "Enter")


def test_typing_through_goes_on(helix: Desk) -> None:
    helix.terminal.type(TYPED)
    has_menu(helix, 3)
    whole = suggested(helix)[0]
    helix.terminal.type("en")
    helix.terminal.shows(TYPED + "en")
    has_menu(helix, 3)
    helix.terminal.keys("Tab", "Enter")
    save(helix)
    helix.holds(whole)
    helix.leave(":qa!", "Enter")


def test_does_not_delay_another_server(helix: Desk) -> None:
    helix.log.hold(is_held=True)
    helix.terminal.type(TYPED)
    has_menu(helix, 1)
    assert entries(helix) == [WORD]
    until(lambda: suggested(helix), helix.log.summary)
    assert entries(helix) == [WORD]
    helix.log.hold(is_held=False)
    has_menu(helix, 3)
    assert entries(helix)[2] == WORD
    escape(helix)
    helix.leave(":qa!", "Enter")
