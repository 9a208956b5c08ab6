"""VS Code shows ghost text of the real server, and what is accepted stands on disk."""

import os

import pytest

from tests.editors.conftest import Log
from tests.editors.vscode_workbench import install, workbench, write

pytestmark = pytest.mark.timeout(900)  # the first test installs

CIRCLE = '''"""Shapes."""


class Circle:
    """A circle."""

    def __init__(self, radius):
        self.radius = radius

    def area(self):
        """The area."""
        '''
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
    """The suggestions of which the editor told something."""
    return [message["params"]["item"]["command"]["arguments"][0] for message in code.log.sent(method)]


def accepted(code):
    """The suggestions that the editor's command said were accepted."""
    ran = [message["params"] for message in code.log.sent("workspace/executeCommand")]
    return [params["arguments"][0] for params in ran if params["command"] == "starcoder.accept"]


@pytest.mark.parametrize(
    ("name", "text", "typed", "line"),
    [("circle", CIRCLE, "return ", "return "), ("point", POINT, "\n", "\n        ")],
)
def test_tab_accepts_what_is_shown(code, name, text, typed, line):
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


def test_typing_through_keeps_the_rest_and_a_contradiction_takes_it_away(code):
    code.open("through.py", CIRCLE)
    code.type("return ")
    whole = code.ghost()
    for n_typed in (1, 2):
        code.type(whole[n_typed - 1])
        code.until(lambda n_typed=n_typed: code.shown() == whole[n_typed:])
    code.type("+")
    code.until(lambda: not code.shown().startswith(whole[2:]))
    code.until(lambda: code.log.sent("starcoder/didReject"))


def test_undo_takes_an_accepted_suggestion_away_at_once(code):
    path = code.open("undo.py", CIRCLE)
    code.type("return ")
    whole = code.ghost()
    code.press("Tab")
    code.saves(path, CIRCLE + "return " + whole)
    code.press("Control+Z")
    code.saves(path, CIRCLE + "return ")


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
    assert max(len(answer["items"]) for answer in code.log.answers()) == 2  # as the workspace's settings have it


def test_a_word_can_be_accepted(code):
    path = code.open("word.py", CIRCLE)
    code.type("return ")
    whole = code.ghost()
    code.press("Control+ArrowRight")
    code.until(lambda: code.log.sent("textDocument/didPartiallyAcceptCompletion"))
    length = code.log.sent("textDocument/didPartiallyAcceptCompletion")[-1]["params"]["acceptedLength"]
    assert 0 < length < len(whole)
    code.saves(path, f"{CIRCLE}return {whole[:length]}")


def test_a_late_suggestion_is_not_shown_at_another_place(code):
    path = code.open("late.py", CIRCLE)
    n_before = len(code.log.answers())
    code.log.hold(is_held=True)
    code.type("return ")
    code.until(lambda: len(code.log.answers()) > n_before)  # noted, and kept back
    code.press("ArrowUp")
    code.log.hold(is_held=False)
    code.command("StarCoder: Show Status")  # the answer comes behind the late one
    code.page.locator(".notification-toast", has_text="StarCoder: ready").wait_for()
    assert code.shown() == ""
    code.saves(path, CIRCLE + "return ")


def test_a_function_body_is_filled_by_a_code_action(code):
    path = code.open("fill.py", f"{CIRCLE}pass")
    code.press("Control+.")
    code.page.locator(".action-widget .monaco-list-row", has_text="body").first.click()
    code.page.locator('.tab.dirty[data-resource-name="fill.py"]').wait_for()
    code.press("Control+S")
    code.until(lambda: path.read_text("utf-8") != f"{CIRCLE}pass")
    assert path.read_text("utf-8").startswith(CIRCLE[: CIRCLE.index('"""The area')])


def test_suggestions_are_turned_off_and_on(code):
    code.open("off.py", CIRCLE)
    code.command("StarCoder: Turn Suggestions On or Off")
    code.until_status("off")
    n_before = len(code.log.replies())
    code.type("return ")
    code.until(lambda: len(code.log.replies()) > n_before)
    assert code.shown() == ""
    code.command("StarCoder: Turn Suggestions On or Off")
    code.until_status("ready")


@pytest.mark.parametrize(
    ("name", "title", "heading"),
    [
        ("statistics", "StarCoder: Show Statistics", "Statistics since the server started"),
        ("explain", "StarCoder: Explain What the Model Sees Here", "What the model sees at first/explain.py:12:9"),
    ],
)
def test_pages_are_shown(code, name, title, heading):
    code.open(f"{name}.py", CIRCLE)
    code.command(title)
    code.until(lambda: code.has_heading(heading))
    code.picture(name)


def test_diagnostics_are_exported_to_an_editor(code):
    code.command("StarCoder: Export Diagnostics")
    code.page.locator(".view-line", has_text="# starcoder-lsp").first.wait_for()


def test_every_request_has_one_reply_and_the_workspace_set_nothing_that_is_the_persons(code, tmp_path):
    log = Log(tmp_path / "messages.jsonl")  # at a moment at which nothing is under way: VS Code asks by itself too

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


def test_a_server_that_is_not_there_is_asked_for(code):
    home = code.folder.parent
    settings = home / "data" / "Machine" / "settings.json"  # the person's, beside the server
    write(settings, {"starcoder.server.path": "/not/there"})
    code.until_status("error")
    code.page.locator(".notification-toast", has_text="/not/there").locator("text=Choose Program").wait_for()
    code.picture("asks")
    assert code.page.locator(".notification-toast", has_text="failed").count() == 0
    write(settings, {"starcoder.server.path": str(home / "bin" / "starcoder-lsp")})
    code.until_status("ready")
