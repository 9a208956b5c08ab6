"""Helix: suggestions are entries of its completion menu, beside those of another server."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.editors.conftest import EDITORS, FOLDER, LINE, LINES, REWRITES, UNUSUAL, Desk, block
from tests.editors.other_server import WORD
from tests.editors.terminal import until

TYPED = "    with op"
ENTRY = re.compile(r"(open.*?) +(?:text|function) *$", re.MULTILINE)
ANOTHER = f"#!/bin/sh\nexec {sys.executable} {FOLDER}/other_server.py\n"


def in_insert_mode(desk: Desk) -> Desk:
    """Start it in insert mode, on the empty line."""
    desk.write("bin/pylsp", ANOTHER)
    (desk.home / "bin" / "pylsp").chmod(0o755)
    desk.run(block("Helix", "sh"))
    desk.start(str(EDITORS / "bin" / "hx"), f"{desk.file.name}:{LINE}")
    desk.terminal.keys("i")
    desk.terminal.shows("INS")
    return desk


@pytest.fixture
def helix(desk: Desk) -> Desk:
    return in_insert_mode(desk)


def suggested(helix: Desk) -> list[str]:
    """Return the line's text after each entry of the last answer."""
    answers = helix.log.answers("textDocument/completion")
    return ["    with " + item["textEdit"]["newText"] for item in answers[-1]["items"]] if answers else []


def entries(helix: Desk) -> list[str]:
    """Return the lines of the menu on the screen."""
    return ENTRY.findall(helix.terminal.screen())


def saves(helix: Desk, line: str) -> None:
    """Save the file, check that it has a line, and wait until Helix has noticed; only then it saves again."""
    helix.terminal.type(":w\n")
    helix.holds(line)
    helix.terminal.hides("[+]")


def escape(helix: Desk) -> None:
    helix.terminal.keys("Escape")  # a key right after Escape would count as one with Alt
    helix.terminal.shows(" NOR ")


def leave(helix: Desk) -> None:
    helix.leave(":qa!", "Enter")


def has_menu(helix: Desk, n_entries: int) -> None:
    until(lambda: len(entries(helix)) == n_entries, helix.terminal.screen)


def test_an_entry_is_shown_accepted_and_undone(helix: Desk) -> None:
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
    escape(helix)
    saves(helix, whole)
    terminal.type("u")
    saves(helix, TYPED)
    terminal.type("u")
    saves(helix, "")
    leave(helix)


def test_the_first_line_is_an_entry_of_its_own(helix: Desk) -> None:
    helix.terminal.type(TYPED)
    has_menu(helix, 3)
    helix.terminal.keys("Tab", "Tab", "Enter")
    escape(helix)
    saves(helix, suggested(helix)[1])
    leave(helix)


def test_entries_stay_while_they_are_typed(helix: Desk) -> None:
    helix.terminal.type(TYPED)
    has_menu(helix, 3)
    whole = suggested(helix)[0]
    helix.terminal.type("en")
    helix.terminal.shows(TYPED + "en")
    has_menu(helix, 3)
    helix.terminal.keys("Tab", "Enter")
    escape(helix)
    saves(helix, whole)
    leave(helix)


def test_entries_of_another_server_are_not_delayed(helix: Desk) -> None:
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
    leave(helix)


@pytest.mark.parametrize("is_left", [False, True])
def test_a_late_answer_is_not_shown(helix: Desk, is_left: bool) -> None:  # noqa: FBT001  a parameter of the test
    terminal = helix.terminal
    helix.log.hold(is_held=True)
    terminal.type(TYPED)
    until(lambda: suggested(helix), helix.log.summary)
    late = suggested(helix)[0].split("\n")[0].removeprefix("    with ")
    if is_left:
        escape(helix)
        terminal.type("i")
    terminal.type("x")
    terminal.shows(TYPED + "x")
    terminal.seen.clear()
    helix.log.hold(is_held=False)
    until(lambda: terminal.screen() and not helix.log.unanswered(), helix.log.summary)
    terminal.type("y")
    terminal.shows(TYPED + "xy")
    escape(helix)
    saves(helix, TYPED + "xy")
    assert not [screen for screen in terminal.seen if late in screen]
    leave(helix)


def test_edits_with_characters_of_several_units(helix: Desk) -> None:
    helix.terminal.type(UNUSUAL)
    until(lambda: "text:" in helix.terminal.screen(), helix.terminal.screen)
    helix.terminal.keys("Tab", "Enter")
    escape(helix)
    saves(helix, UNUSUAL + helix.log.answers("textDocument/completion")[-1]["items"][0]["textEdit"]["newText"][2:])
    leave(helix)


def pick(helix: Desk, title: str) -> None:
    """Choose a code action by its name."""
    helix.terminal.type(" a")
    helix.terminal.shows(title)
    rows = helix.terminal.screen().split("\n")
    first, chosen = (next(n for n, row in enumerate(rows) if each in row) for each in ("Fill the body", title))
    helix.terminal.keys(*["Down"] * (chosen - first), "Enter")


def test_code_actions_change_their_lines(helix: Desk) -> None:
    terminal = helix.terminal
    terminal.type(LINES)
    escape(helix)
    for number, (title, line, whole) in enumerate(REWRITES, 1):
        terminal.type(f"{line}ggx" if line == LINE else f"{line}gg")
        pick(helix, title)
        text = helix.log.edit(number)
        saves(helix, whole.format(text.removeprefix("\n")))
        terminal.type("u")
        saves(helix, LINES)
    leave(helix)


def test_a_code_action_writes_tests(helix: Desk) -> None:
    terminal = helix.terminal
    escape(helix)
    for number, (line, functions) in enumerate(((LINE - 1, ["write"]), (4, ["write", "read"])), 1):
        terminal.type(f"{line}gg")
        pick(helix, f"Write a test for {functions[-1]}")
        helix.log.edit(number)
        terminal.type(":wa\n")
        helix.has_tests(*functions)
    helix.holds("")
    leave(helix)


def test_a_killed_server_does_not_disturb_the_editor(helix: Desk) -> None:
    terminal = helix.terminal
    terminal.type(TYPED)
    has_menu(helix, 3)
    helix.log.kill()
    terminal.shows("Language server exited: starcoder")
    terminal.type("x")
    escape(helix)
    saves(helix, TYPED + "x")
    terminal.type(":lsp-restart\n")
    helix.is_served()
    terminal.type("ui" + TYPED)
    has_menu(helix, 3)
    escape(helix)
    leave(helix)


def test_the_health_command_finds_the_server(helix: Desk) -> None:
    environment = {"HOME": str(helix.home), "PATH": f"{helix.home}/bin:/usr/bin:/bin"}
    command = [str(EDITORS / "bin" / "hx"), "--health", "python"]
    notifications = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment).stdout  # noqa: S603
    assert f"{helix.home}/bin/starcoder-lsp" in notifications
    escape(helix)
    leave(helix)
