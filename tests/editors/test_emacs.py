"""Emacs: lsp-mode's own inline completion, in a terminal."""

from __future__ import annotations

import pytest

from tests.editors.conftest import EDITORS, LINE, LINES, REWRITES, UNUSUAL, Desk, block
from tests.editors.terminal import until

TYPED = "    with op"
PACKAGES = f'(setq package-user-dir "{EDITORS}/emacs/elpa" native-comp-deferred-compilation nil)\n'
"""The folder of lsp-mode, installed by `install.sh`. Compiling it for each home folder would take a minute."""


def on_the_empty_line(desk: Desk) -> Desk:
    """Start it on the empty line."""
    desk.write(".emacs.d/early-init.el", PACKAGES)
    desk.write(".emacs.d/init.el", block("Emacs", "elisp"))
    desk.launch("emacs", "-nw", f"+{LINE}", desk.file.name)
    desk.terminal.shows("Select action")
    desk.terminal.type("i")
    desk.is_served()
    desk.terminal.shows("starcoder:ready")
    return desk


@pytest.fixture
def emacs(desk: Desk) -> Desk:
    return on_the_empty_line(desk)


def save(emacs: Desk) -> None:
    emacs.terminal.keys("C-x", "C-s")


def leave(emacs: Desk) -> None:
    emacs.leave("C-x", "C-c")


def test_ghost_text_is_shown_accepted_and_undone(emacs: Desk) -> None:
    terminal = emacs.terminal
    terminal.type(TYPED)
    suggestion = emacs.suggests(TYPED)
    emacs.keep("emacs")
    terminal.keys("Tab")
    terminal.hides("Accept:")
    save(emacs)
    emacs.holds(TYPED + suggestion)
    assert emacs.log.sent("workspace/executeCommand")
    terminal.keys("C-_")
    save(emacs)
    emacs.holds(TYPED)
    leave(emacs)


def test_ghost_text_stays_while_it_is_typed(emacs: Desk) -> None:
    terminal = emacs.terminal
    terminal.type(TYPED)
    suggestion = emacs.suggests(TYPED)
    for n_typed in range(1, 4):
        terminal.type(suggestion[n_typed - 1])
        typed = TYPED + suggestion[:n_typed]
        assert emacs.suggests(typed) == suggestion[n_typed:]
    terminal.keys("Tab")
    terminal.hides("Accept:")
    save(emacs)
    emacs.holds(TYPED + suggestion)
    leave(emacs)


def test_a_word_or_a_line_can_be_accepted(emacs: Desk) -> None:
    terminal = emacs.terminal
    terminal.type(TYPED)
    suggestion = emacs.suggests(TYPED)
    row, _ = terminal.cursor()
    shown = terminal.screen().split("\n")[row : row + 2]
    column = shown[0].index("(")
    for key, end in (("M-f", column), ("M-e", len(shown[0]))):
        terminal.keys(key)
        terminal.until_cursor(row, end - 1)  # at a line's end Emacs shows a suggestion from the last character on
        until(lambda: terminal.screen().split("\n")[row : row + 2] == shown, terminal.screen)
    save(emacs)
    emacs.holds(TYPED + suggestion.split("\n")[0])
    notifications = [each["params"] for each in emacs.log.sent("textDocument/didPartiallyAcceptCompletion")]
    assert [each["acceptedLength"] for each in notifications] == [len("en"), len(shown[0]) - column]
    assert not [screen for screen in terminal.seen if "Wrong type" in screen]
    terminal.keys("C-_")
    save(emacs)
    emacs.holds("    with open")
    leave(emacs)


def test_alternatives_can_be_cycled(emacs: Desk) -> None:
    terminal = emacs.terminal
    terminal.type(TYPED)
    emacs.suggests(TYPED)
    terminal.keys("M-n")
    terminal.shows("Completion 2/")
    texts = emacs.log.texts()
    assert len(texts) > 1
    terminal.shows(TYPED + texts[1].split("\n")[0])
    terminal.keys("M-p")
    terminal.shows(TYPED + texts[0].split("\n")[0])
    terminal.keys("M-n")
    terminal.shows(TYPED + texts[1].split("\n")[0])
    terminal.keys("Tab")
    terminal.hides("Accept:")
    save(emacs)
    emacs.holds(TYPED + texts[1])
    leave(emacs)


def test_a_late_answer_is_not_shown(emacs: Desk) -> None:
    terminal = emacs.terminal
    emacs.log.hold(is_held=True)
    terminal.type(TYPED)
    emacs.log.has_answer()
    late = emacs.log.texts()[0].split("\n")[0][3:]
    terminal.type("x")
    terminal.shows(TYPED + "x")
    terminal.seen.clear()
    emacs.log.hold(is_held=False)
    until(lambda: terminal.screen() and len(emacs.log.replies()) > 1, emacs.log.summary)
    terminal.type("y")
    terminal.shows(TYPED + "xy")
    assert not [screen for screen in terminal.seen if late in screen]
    save(emacs)
    leave(emacs)


def test_edits_with_characters_of_several_units(emacs: Desk) -> None:
    emacs.terminal.type(UNUSUAL)
    suggestion = emacs.suggests("te")
    emacs.terminal.keys("M-f")
    emacs.terminal.shows("text")
    emacs.terminal.shows("te" + suggestion.split("\n")[0])  # the rest, without a new request
    emacs.terminal.keys("Tab")
    emacs.terminal.hides("Accept:")
    save(emacs)
    emacs.holds(UNUSUAL + suggestion)
    leave(emacs)


def pick(emacs: Desk, title: str) -> None:
    """Choose a code action by its name."""
    emacs.terminal.keys("M-x")
    emacs.terminal.type("lsp-execute-code-action\n")
    emacs.terminal.shows("Select code action")
    emacs.terminal.type(title + "\n")


def go_to(emacs: Desk, line: int) -> None:
    emacs.terminal.keys("M-g", "g")
    emacs.terminal.type(f"{line}\n")


def test_code_actions_change_their_lines(emacs: Desk) -> None:
    emacs.terminal.type(LINES)
    for number, (title, line, whole) in enumerate(REWRITES, 1):
        go_to(emacs, line)
        if line == LINE:
            emacs.terminal.keys("C-Space", "C-e")
        pick(emacs, title)
        text = emacs.log.edit(number)
        save(emacs)
        emacs.holds(whole.format(text.removeprefix("\n")))
        emacs.terminal.keys("C-_")
        save(emacs)
        emacs.holds(LINES)
    leave(emacs)


def test_a_code_action_writes_tests(emacs: Desk) -> None:
    for number, (line, functions) in enumerate(((LINE - 1, ["write"]), (4, ["write", "read"])), 1):
        go_to(emacs, line)
        pick(emacs, f"Write a test for {functions[-1]}")
        emacs.log.edit(number)
        emacs.terminal.keys("C-x", "s", "!")
        emacs.has_tests(*functions)
    emacs.holds("")
    leave(emacs)


def test_a_code_action_can_be_cancelled(emacs: Desk) -> None:
    go_to(emacs, LINE - 1)
    emacs.log.hold(is_held=True, side="client")
    pick(emacs, "Fill the body of write")
    emacs.log.waits_for("codeAction/resolve")
    emacs.terminal.keys("C-g")
    emacs.terminal.shows("Quit")
    emacs.log.hold(is_held=False, side="client")
    until(lambda: emacs.log.replies("codeAction/resolve"), emacs.log.summary)
    assert "error" in emacs.log.replies("codeAction/resolve")[0]
    save(emacs)
    emacs.holds("")
    leave(emacs)


def test_a_killed_server_is_started_again(emacs: Desk) -> None:
    terminal = emacs.terminal
    terminal.type(TYPED)
    emacs.suggests(TYPED)
    emacs.log.kill()
    terminal.shows("exited (check")
    terminal.hides("starcoder:")
    terminal.type("nx")
    terminal.shows(TYPED + "x")
    terminal.keys("BSpace", "M-x")
    terminal.type("lsp\n")
    emacs.is_served()
    terminal.type("x")
    terminal.keys("BSpace")
    emacs.suggests(TYPED)
    save(emacs)
    emacs.holds(TYPED)
    leave(emacs)
