"""VS Code with the real server: ghost text, accepted text on disk, commands and code actions."""

import json
import os
import shutil

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from tests.editors.conftest import BEFORE, DEFINITION, LINES, Log
from tests.editors.vscode_workbench import install, workbench, write

pytestmark = pytest.mark.timeout(900)  # the first test installs VS Code

CIRCLE = '''"""Shapes."""


class Circle:
    """A circle."""

    def __init__(self, radius):
        self.radius = radius

    def area(self):
        """The area."""
        '''
REQUEST_CANCELLED = -32800
SIZE = 'def size_of(items):\n    """Return the number of items."""\n    return len(items)\n'
SQUARE = "def square(number):\n    return number * number\n"
WRITE = '''def append(path, text):
    """Append a text to a file."""
    with open(path, "a") as file:
        file.write(text)


def write(path, text):'''
POINT = "class Point:\n    def __init__(self, x, y):\n        self.x = x"


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    wanted = os.environ.get("STARCODER_TEST_EDITORS", "")
    if wanted != "all" and "vscode" not in wanted:
        pytest.skip("VS Code (1.2 GB) is installed and driven where STARCODER_TEST_EDITORS names vscode or is all")
    with workbench(install(), tmp_path_factory.mktemp("vscode")) as window:
        window.until_status("ready")
        window.wakes()
        yield window


def names(code, method):
    """Return the suggestions named in the editor's notifications of a method."""
    return [message["params"]["item"]["command"]["arguments"][0] for message in code.log.sent(method)]


def accepted(code):
    """Return the suggestions that the editor reported as accepted, by the command."""
    ran = [message["params"] for message in code.log.sent("workspace/executeCommand")]
    return [params["arguments"][0] for params in ran if params["command"] == "starcoder.accept"]


@pytest.mark.parametrize(
    ("name", "text", "typed", "line"),
    [("circle", CIRCLE, "return ", "return "), ("point", POINT, "\n", "\n        ")],
)
def test_tab_accepts_the_shown_suggestion(code, name, text, typed, line):
    path = code.open(f"{name}.py", text)
    code.type(typed)
    assert code.ghost()
    code.picture(name)
    item = code.log.answers()[-1]["items"][0]
    code.press("Tab")
    before, last = (text + line).rsplit("\n", 1)
    code.saves(path, before + "\n" + last[: item["range"]["start"]["character"]] + item["insertText"])
    (name_of_item,) = item["command"]["arguments"]
    code.until(lambda: name_of_item in accepted(code))
    assert name_of_item in names(code, "textDocument/didShowCompletion")


def test_typing_the_suggestion_keeps_its_rest_and_other_text_removes_it(code):
    code.open("through.py", CIRCLE)
    code.type("return ")
    whole = code.ghost()
    for n_typed in (1, 2):
        code.type(whole[n_typed - 1])
        code.until(lambda n_typed=n_typed: code.shown() == whole[n_typed:])
    code.type("+")
    code.until(lambda: not code.shown().startswith(whole[2:]))
    code.until(lambda: code.log.sent("starcoder/didReject"))


def test_one_undo_removes_an_accepted_suggestion(code):
    path = code.open("undo.py", CIRCLE)
    code.type("return ")
    whole = code.ghost()
    code.press("Tab")
    code.saves(path, CIRCLE + "return " + whole)
    code.press("Control+Z")
    code.saves(path, CIRCLE + "return ")


def test_edits_with_characters_of_several_units(code):
    text = CIRCLE + 'x = "😀e\N{COMBINING ACUTE ACCENT}"; '
    path = code.open("units.py", text)
    code.type("return ")
    whole = code.ghost()
    code.press("Tab")
    code.saves(path, f"{text}return {whole}")


def test_alternatives_are_cycled(code):
    path = code.open("cycle.py", CIRCLE)
    code.type("radius = ")
    first = code.ghost()
    code.press("Alt+BracketRight")
    code.until(lambda: code.shown() not in ("", first))
    second = code.shown()
    code.press("Alt+BracketLeft")
    code.until(lambda: code.shown() == first)
    code.press("Alt+BracketRight")
    code.until(lambda: code.shown() == second)
    code.press("Tab")
    code.saves(path, f"{CIRCLE}radius = {second}")
    assert max(len(answer["items"]) for answer in code.log.answers()) == 2  # the number in the workspace's settings


@pytest.mark.parametrize(
    ("name", "text", "typed", "key"),
    [("word", CIRCLE, "return ", "Control+ArrowRight"), ("line", WRITE, "\n", "Alt+L")],
)
def test_a_part_can_be_accepted(code, name, text, typed, key):
    path = code.open(f"{name}.py", text)
    n_before = len(code.log.sent("textDocument/didPartiallyAcceptCompletion"))
    code.type(typed)
    assert code.ghost()
    item = code.log.answers()[-1]["items"][0]
    code.press(key)
    code.until(lambda: len(code.log.sent("textDocument/didPartiallyAcceptCompletion")) > n_before)
    told = code.log.sent("textDocument/didPartiallyAcceptCompletion")[-1]["params"]
    assert told["item"]["command"]["arguments"] == item["command"]["arguments"]
    accepted = item["insertText"][: told["acceptedLength"]]
    assert 0 < len(accepted) < len(item["insertText"])
    assert accepted.count("\n") == typed.count("\n")
    indentation = " " * item["range"]["start"]["character"] if typed == "\n" else ""
    code.saves(path, text + typed + indentation + accepted)


def test_a_notebook_cell_is_completed_with_the_cells_above(code):
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    above = ["number_of_items = 3\n", "x = number_of_items\n", "print(number_of_items)"]
    cells = [cell | {"source": above}, cell | {"source": []}]
    about = {"metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    path = code.show("items.ipynb", json.dumps({"cells": cells, **about}))
    code.page.locator('.monaco-editor[data-uri*="items.ipynb"]').nth(1).click()
    code.page.locator('.monaco-editor.focused[data-uri*="items.ipynb"]').wait_for()
    code.type("y = numb")
    whole = code.ghost()
    assert whole.startswith("er_of_items")
    code.press("Tab")
    code.until(lambda: code.shown() == "")
    code.press("Control+S")
    code.until(lambda: json.loads(path.read_text())["cells"][1]["source"] == [f"y = numb{whole}"])


def test_a_late_suggestion_is_not_shown_at_another_place(code):
    path = code.open("late.py", CIRCLE)
    n_before = len(code.log.answers())
    code.log.hold(is_held=True)
    code.type("return ")
    code.until(lambda: len(code.log.answers()) > n_before)  # recorded, and held back
    code.press("ArrowUp")
    code.log.hold(is_held=False)
    code.command("StarCoder: Show Status")  # this answer comes after the late one
    code.toast("StarCoder: ready").wait_for()
    assert code.shown() == ""
    code.saves(path, CIRCLE + "return ")


@pytest.mark.parametrize(
    ("title", "before", "hole", "after", "n_selected"),
    [
        ("Fill the body of area", CIRCLE[: CIRCLE.index('"""The area')], '"""The area."""\n        pass', "", 0),
        ("Rewrite the selected lines", CIRCLE, "result = 0\n        return result\n", f"\n\n{SQUARE}", 2),
        ("Write a docstring for write", BEFORE + DEFINITION, "", f"{LINES}\n", 0),
    ],
)
def test_a_code_action_changes_only_its_lines(code, title, before, hole, after, n_selected):
    path = code.open(f"{title.split()[-1]}.py", before + hole + after)
    code.press("Control+Home")
    for key in ["ArrowDown"] * (before.count("\n") - (not n_selected)) + ["Shift+ArrowDown"] * n_selected:
        code.press(key)
    code.action(title).click()
    code.page.locator(f'.tab.dirty[data-resource-name="{path.name}"]').wait_for()
    code.press("Control+S")
    code.until(lambda: path.read_text("utf-8") != before + hole + after)
    text = path.read_text("utf-8")
    assert text.startswith(before)
    assert text.endswith(after)


def test_the_first_test_is_written_to_a_new_file_and_the_second_added_to_it(code):
    module = f"sizes_{len(list(code.folder.glob('sizes_*.py')))}"  # a second try needs a file without a test
    code.open(f"{module}.py", SIZE)
    tests = code.folder / f"test_{module}.py"
    code.press("Control+Home")
    code.action("Write a test for size_of").click()
    code.page.locator(f'.tab.active[data-resource-name="{tests.name}"]').wait_for()
    first = tests.read_text("utf-8")
    assert first.startswith(f"from {module} import size_of\n\n\ndef test_size_of")
    code.page.locator(f'.tab[data-resource-name="{module}.py"]').click()
    code.page.locator(".monaco-editor.focused").wait_for()
    code.action("Write a test for size_of").click()
    code.page.locator(f'.tab.dirty[data-resource-name="{tests.name}"]').click()
    code.press("Control+S")
    code.until(lambda: tests.read_text("utf-8").startswith(f"{first}\n\ndef test_size_of"))


def test_suggestions_can_be_turned_off_and_on(code):
    code.open("off.py", CIRCLE)
    code.command("StarCoder: Turn Suggestions On or Off")
    code.until_status("off")
    n_before = len(code.log.replies())
    code.type("return ")
    code.until(lambda: len(code.log.replies()) > n_before)
    assert code.shown() == ""
    code.menu("Turn Suggestions On or Off")
    code.until_status("ready")
    code.menu("Show Status")
    code.toast("StarCoder: ready").wait_for()


@pytest.mark.parametrize(
    ("name", "title", "heading"),
    [
        ("statistics", "Show Statistics", "Does it help?"),
        ("explain", "Explain What the Model Sees Here", "What the model sees at first/explain.py:12:9"),
    ],
)
def test_commands_show_pages(code, name, title, heading):
    code.open(f"{name}.py", CIRCLE)
    code.menu(title)
    code.until(lambda: code.has_heading(heading))
    code.picture(name)


def test_exported_diagnostics_open_in_an_editor(code):
    code.command("StarCoder: Export Diagnostics")
    code.page.locator(".view-line", has_text="# starcoder-lsp").first.wait_for()


def test_every_request_has_one_reply_and_the_workspace_set_no_trusted_setting(code, tmp_path):
    log = Log(tmp_path / "messages.jsonl")  # at a moment without open requests, since VS Code sends some by itself

    def is_quiet():
        log.path.write_bytes(code.log.path.read_bytes())
        requests = {message["id"] for message in log.messages("client") if "method" in message and "id" in message}
        return requests <= {message.get("id") for message in log.messages("server")}

    code.until(is_quiet)
    log.check()
    assert "/nowhere" not in log.path.read_text("utf-8")
    (initialize,) = log.sent("initialize")
    assert [folder["name"] for folder in initialize["params"]["workspaceFolders"]] == ["first", "second"]
    assert log.sent("textDocument/didFocus")


# The tests below cause errors, and new servers, whose records begin anew.


def test_a_code_action_is_cancelled_by_its_progress(code):
    path, n_before = code.open("cancel.py", SQUARE), len(code.log.replies("codeAction/resolve"))
    code.press("Control+Home")
    code.log.hold(is_held=True, side="model")
    code.action("Write a docstring for square").click()
    code.page.locator(".statusbar-item", has_text="Write a docstring for square").click()
    code.page.locator(".notifications-center").get_by_role("button", name="Cancel").click()
    code.until(lambda: len(code.log.replies("codeAction/resolve")) > n_before)
    code.log.hold(is_held=False, side="model")
    assert code.log.replies("codeAction/resolve")[-1]["error"]["code"] == REQUEST_CANCELLED
    code.command("Notifications: Clear All Notifications")
    code.saves(path, SQUARE)


def test_a_killed_server_is_started_again(code):
    code.open("dies.py", CIRCLE)
    with code.restarts():
        code.log.kill()
    code.type("return ")
    assert code.ghost()


def test_a_selected_model_is_stored_in_the_settings(code):
    model = code.folder.parent / "models" / "mine.gguf"
    model.parent.mkdir()
    shutil.copy(DEMONSTRATOR, model)
    with code.restarts():
        code.command("StarCoder: Select Model File")
        box = code.page.locator(".quick-input-widget", has_text="GGUF").locator("input.input")
        row = code.page.locator(".quick-input-list .monaco-list-row", has_text=model.name)
        code.until(lambda: row.count() or box.fill(str(model)))  # the opening dialog writes into the box, too
        row.click()
    with code.restarts():
        code.command("StarCoder: Restart Server")
    (initialize,) = code.log.sent("initialize")
    assert initialize["params"]["initializationOptions"]["starcoder"]["model"]["path"] == str(model)
    assert code.toast("failed").all_inner_texts() == []


def test_the_user_is_asked_for_a_missing_server(code):
    home = code.folder.parent
    settings = home / "data" / "Machine" / "settings.json"  # the user's setting, beside the server
    write(settings, {"starcoder.server.path": "/not/there"})
    code.until_status("error")
    code.toast("/not/there").locator("text=Choose Program").wait_for()
    code.picture("asks")
    assert code.toast("failed").all_inner_texts() == []
    write(settings, {"starcoder.server.path": str(home / "bin" / "starcoder-lsp")})
    code.until_status("ready")


def test_a_program_that_is_no_server_is_reported_and_the_selected_pythons_is_used(code):
    home = code.folder.parent
    settings = home / "data" / "Machine" / "settings.json"
    write(settings, {"starcoder.server.path": shutil.which("false")})
    code.until_status("error")
    (home / "bin" / "starcoder-lsp").unlink()
    write(settings, {})
    code.until_status("ready")
    assert Log(home / "python.jsonl").sent("initialize")
