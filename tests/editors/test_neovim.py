"""Neovim: its own inline completion (0.12), and the plugin's ghost text on 0.10 and, without the former, on 0.12."""

from __future__ import annotations

import re

import pytest

from tests.editors.conftest import EDITORS, LINE, LINES, REWRITES, UNUSUAL, Desk, block
from tests.editors.terminal import until

TYPED = "    with op"
WITHOUT_OWN = "vim.lsp.inline_completion = false\n"
"""Makes Neovim 0.12 look like 0.11 to the plugin."""
CODE_ACTION_KEY = "vim.keymap.set({ 'n', 'x' }, 'gra', vim.lsp.buf.code_action)\n"
"""A key that Neovim has by default since 0.11."""
in_both_versions = pytest.mark.parametrize("kind", ["nvim", "nvim-0.10"])


@pytest.fixture(params=["nvim", "nvim-0.10", "nvim without its own"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def neovim(desk: Desk, kind: str) -> Desk:
    """In insert mode, on the empty line."""
    own = {"nvim-0.10": CODE_ACTION_KEY, "nvim without its own": WITHOUT_OWN}.get(kind, "")
    desk.write(".config/nvim/init.lua", own + block("Neovim", "lua"))
    desk.start(str(EDITORS / "bin" / kind.split(maxsplit=1)[0]), f"+{LINE}", desk.file.name)
    desk.terminal.shows("starcoder: ready")
    desk.terminal.keys("i")
    desk.terminal.shows("INSERT")
    return desk


def escape(desk: Desk) -> None:
    desk.terminal.keys("Escape")  # a key right after Escape would count as one with Alt
    desk.terminal.hides("-- INSERT --")


def save(desk: Desk) -> None:
    escape(desk)
    desk.terminal.type(":w\n")


def leave(desk: Desk) -> None:
    escape(desk)
    desk.leave(":qa!", "Enter")


def test_ghost_text_is_shown_accepted_and_undone(neovim: Desk, kind: str) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    suggestion = neovim.suggests(TYPED)
    assert "\n" in suggestion
    terminal.shows(suggestion.split("\n")[1])
    neovim.keep(kind.replace(" ", "-"))
    terminal.keys("C-y")
    save(neovim)
    neovim.holds(TYPED + suggestion)
    terminal.type("u:w\n")
    neovim.holds(TYPED)
    terminal.type("u:w\n")
    neovim.holds("")
    assert neovim.log.sent("workspace/executeCommand")
    leave(neovim)


def test_ghost_text_stays_while_it_is_typed(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    suggestion = neovim.suggests(TYPED)
    first = suggestion.split("\n")[0]
    row, column = terminal.cursor()
    whole = terminal.screen().split("\n")[row]
    assert whole.endswith(TYPED + first)
    for n_typed, letter in enumerate(first[:6], 1):
        terminal.type(letter)
        terminal.until_cursor(row, column + n_typed)
        assert terminal.screen().split("\n")[row] == whole
    terminal.keys("C-y")
    save(neovim)
    neovim.holds(TYPED + suggestion)
    leave(neovim)


def test_a_word_or_a_line_can_be_accepted(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    suggestion = neovim.suggests(TYPED)
    row, _ = terminal.cursor()
    terminal.keys("M-w")
    terminal.until_cursor(row, terminal.screen().split("\n")[row].index("(", len(TYPED)))
    terminal.keys("M-l")
    save(neovim)
    neovim.holds(TYPED + suggestion.split("\n")[0])
    notifications = neovim.log.sent("textDocument/didPartiallyAcceptCompletion")
    assert len(notifications) == 2
    assert notifications[0]["params"]["acceptedLength"] == len("en")
    terminal.type("u:w\n")
    neovim.holds("    with open")
    leave(neovim)


def test_alternatives_can_be_cycled(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    neovim.suggests(TYPED)
    terminal.keys("M-n")
    terminal.shows("(2/")
    texts = neovim.log.texts()
    assert len(texts) > 1
    terminal.shows(TYPED + texts[1].split("\n")[0])
    terminal.keys("M-p")
    terminal.shows(TYPED + texts[0].split("\n")[0])
    terminal.shows("(1/")
    terminal.keys("M-n")
    terminal.shows("(2/")
    terminal.keys("C-y")
    save(neovim)
    neovim.holds(TYPED + texts[1])
    leave(neovim)


def test_a_late_answer_is_not_shown(neovim: Desk) -> None:
    terminal = neovim.terminal
    neovim.log.hold(is_held=True)
    terminal.type(TYPED)
    neovim.log.has_answer()
    late = neovim.log.texts()[0].split("\n")[0][3:]
    terminal.type("x")
    terminal.shows(TYPED + "x")
    terminal.seen.clear()
    neovim.log.hold(is_held=False)
    until(lambda: terminal.screen() and len(neovim.log.replies()) > 1, neovim.log.summary)
    terminal.type("y")
    terminal.shows(TYPED + "xy")
    assert not [screen for screen in terminal.seen if late in screen]
    leave(neovim)


def test_typing_another_text_removes_ghost_text(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    shown = neovim.suggests(TYPED).split("\n")[0][3:]
    neovim.log.hold(is_held=True)
    terminal.type("#")
    terminal.hides(shown)
    neovim.log.hold(is_held=False)
    leave(neovim)


def test_edits_with_characters_of_several_units(neovim: Desk) -> None:
    neovim.terminal.type(UNUSUAL)
    suggestion = neovim.suggests("te")
    neovim.terminal.keys("C-y")
    save(neovim)
    neovim.holds(UNUSUAL + suggestion)
    leave(neovim)


def test_keys_keep_their_meaning_without_ghost_text(neovim: Desk) -> None:
    terminal = neovim.terminal
    escape(neovim)
    terminal.type(":Starcoder toggle\n")
    terminal.shows("starcoder: off")
    until(lambda: not neovim.log.unanswered(), neovim.log.summary)
    terminal.type("i")
    terminal.keys("C-y")
    terminal.type("\nre")
    terminal.keys("C-x", "C-n")
    terminal.shows("match 1 of")
    terminal.keys("C-y")
    terminal.type("!")
    save(neovim)
    neovim.holds("d\nread!")
    terminal.type("Sab")
    terminal.keys("M-h")
    terminal.type(":w\n")
    neovim.holds("d\nab")
    leave(neovim)


@in_both_versions
def test_a_key_that_is_mapped_already_is_kept(desk: Desk, kind: str) -> None:
    desk.write(".config/nvim/init.lua", block("Neovim", "lua") + 'vim.keymap.set("i", "<C-y>", "mine")\n')
    desk.start(str(EDITORS / "bin" / kind), f"+{LINE}", desk.file.name)
    desk.terminal.keys("i", "C-y")
    desk.terminal.shows("mine")
    save(desk)
    desk.holds("mine")
    desk.terminal.type(":checkhealth starcoder\n")
    desk.terminal.shows("<C-y> is mapped to something else")
    desk.leave(":qa!", "Enter")


def pick(neovim: Desk, title: str) -> None:
    """Choose a code action by its name."""
    neovim.terminal.type("gra")
    neovim.terminal.shows(title)
    number = re.search(rf"(\d+): {title}", neovim.terminal.screen())
    assert number is not None
    neovim.terminal.type(f"{number[1]}\n")


@in_both_versions
def test_code_actions_change_their_lines(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(LINES)
    escape(neovim)
    for number, (title, line, whole) in enumerate(REWRITES, 1):
        terminal.type(f"{line}GV" if line == LINE else f"{line}G")
        pick(neovim, title)
        text = neovim.log.edit(number)
        terminal.keys("Escape")  # lines may still be selected
        terminal.hides("VISUAL")
        terminal.type(":w\n")
        neovim.holds(whole.format(text.removeprefix("\n")))
        terminal.type("u:w\n")
        neovim.holds(LINES)
    leave(neovim)


@in_both_versions
def test_a_code_action_writes_tests(neovim: Desk) -> None:
    escape(neovim)
    neovim.terminal.type("k")
    pick(neovim, "Write a test for write")
    neovim.log.edit(1)
    neovim.terminal.type(":wa\n")
    neovim.has_tests("write")
    neovim.terminal.type("4G")
    pick(neovim, "Write a test for read")
    neovim.log.edit(2)
    neovim.terminal.type(":wa\n")
    neovim.has_tests("write", "read")
    neovim.holds("")
    leave(neovim)


@in_both_versions
def test_a_code_action_can_be_cancelled(neovim: Desk) -> None:
    escape(neovim)
    neovim.terminal.type("k")
    neovim.log.hold(is_held=True, side="client")
    pick(neovim, "Fill the body of write")
    neovim.log.waits_for("codeAction/resolve")
    neovim.terminal.type(":Starcoder cancel\n")
    neovim.terminal.shows("starcoder: cancelled")
    neovim.log.hold(is_held=False, side="client")
    until(lambda: neovim.log.replies("codeAction/resolve"), neovim.log.summary)
    assert "error" in neovim.log.replies("codeAction/resolve")[0]
    neovim.terminal.type(":w\n")
    neovim.holds("")
    leave(neovim)


@in_both_versions
def test_a_late_code_action_is_not_applied(neovim: Desk) -> None:
    neovim.terminal.type("#")
    escape(neovim)
    neovim.terminal.type("k")
    neovim.log.hold(is_held=True)
    pick(neovim, "Fill the body of write")
    until(lambda: neovim.log.replies("codeAction/resolve"), neovim.log.summary)
    neovim.terminal.type("jx")
    neovim.terminal.hides("#")
    neovim.log.hold(is_held=False)
    neovim.terminal.shows("newer than edits")
    neovim.terminal.keys("Enter")
    neovim.terminal.type(":w\n")
    neovim.holds("")
    leave(neovim)


def test_a_killed_server_is_started_again_and_has_the_edits(neovim: Desk) -> None:
    terminal = neovim.terminal
    terminal.type(TYPED)
    neovim.suggests(TYPED)
    neovim.log.kill()
    terminal.shows("Client starcoder_lsp quit")
    terminal.keys("Enter")
    neovim.is_served()
    escape(neovim)
    terminal.type("S" + TYPED.strip())
    neovim.suggests(TYPED)
    assert neovim.log.sent("textDocument/didChange")
    leave(neovim)


def test_checkhealth_finds_no_fault(neovim: Desk, kind: str) -> None:
    escape(neovim)
    neovim.terminal.type(":checkhealth starcoder\n")
    neovim.terminal.shows("suggestions are shown by " + ("Neovim's own" if kind == "nvim" else "this plugin"))
    neovim.terminal.type("G")
    neovim.terminal.shows("ready, model")
    assert "ERROR" not in neovim.terminal.screen()
    assert "WARN" not in neovim.terminal.screen()
    neovim.leave(":qa!", "Enter")


@in_both_versions
def test_commands_toggle_and_show_the_status(neovim: Desk) -> None:
    escape(neovim)
    neovim.terminal.type(":Starcoder tog")
    neovim.terminal.keys("Tab", "Enter")
    neovim.terminal.shows("starcoder: off")
    neovim.terminal.type(":Starcoder toggle\n")
    neovim.terminal.shows("starcoder: ready")
    leave(neovim)


def test_checkhealth_reports_a_missing_server(desk: Desk) -> None:
    desk.write(".config/nvim/init.lua", 'vim.g.starcoder = { cmd = { "no-such-program" } }\n' + block("Neovim", "lua"))
    desk.launch(str(EDITORS / "bin" / "nvim"), "+checkhealth starcoder")
    desk.terminal.shows("is not an executable")
