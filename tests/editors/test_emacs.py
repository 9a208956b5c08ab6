"""Emacs: lsp-mode's own inline completion, in a terminal."""

from __future__ import annotations

import pytest

from tests.editors.conftest import EDITORS, LINE, Desk, block
from tests.editors.terminal import until

TYPED = "    with op"
PACKAGES = f'(setq package-user-dir "{EDITORS}/emacs/elpa" native-comp-deferred-compilation nil)\n'
"""Where `install.sh` installed lsp-mode; compiling it anew for each home folder would take both cores for a minute."""


@pytest.fixture
def emacs(desk: Desk) -> Desk:
    """On the empty line."""
    desk.write(".emacs.d/early-init.el", PACKAGES)
    desk.write(".emacs.d/init.el", block("Emacs", "elisp"))
    desk.launch("emacs", "-nw", f"+{LINE}", desk.file.name)
    desk.terminal.shows("Select action")
    desk.terminal.type("i")
    desk.is_served()
    return desk


def save(emacs: Desk) -> None:
    emacs.terminal.keys("C-x", "C-s")


def leave(emacs: Desk) -> None:
    emacs.leave("C-x", "C-c")


def test_shows_accepts_and_undoes(emacs: Desk) -> None:
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


def test_typing_through_goes_on(emacs: Desk) -> None:
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


def test_cycles(emacs: Desk) -> None:
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


def test_what_comes_late_is_not_shown(emacs: Desk) -> None:
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
