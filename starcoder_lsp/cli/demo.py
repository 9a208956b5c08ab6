"""`starcoder-lsp demo`: a real server completes a line that is typed character by character."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

import starcoder_lsp
from starcoder_lsp.cli import CommandError, coroutines
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.cli.place import open_file, parse_place
from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.lsp.child import ServerEndedError
from starcoder_lsp.lsp.client import Answer, connect

DEFAULT_FILE = Path(starcoder_lsp.__file__).parent / "completion.py"
DEFAULT_LINE = "window = choose_window("
"""The beginning of the line in `DEFAULT_FILE` that the demo types, behind its indentation."""
SETTINGS = {"debounce": {"mode": "off"}}


@frozen
class Scene:
    """A file without one of its lines, and that line."""

    path: Path
    language_id: str
    lines: tuple[str, ...]
    at: int
    typed: str

    @property
    def text(self) -> str:
        """The file with the line empty."""
        return "\n".join(self.lines)


def set_scene(place: str | None) -> Scene:
    """Remove the line from the file. Raises `CommandError` if there is no such line or it is blank."""
    path = DEFAULT_FILE if place is None else parse_place(place, with_column=False).path
    snapshot = open_file(path)
    lines = [snapshot.text.line_text(line).decode() for line in range(snapshot.text.n_lines)]
    if place is None:
        at = next(number for number, line in enumerate(lines) if line.lstrip().startswith(DEFAULT_LINE))
    else:
        at = parse_place(place, with_column=False).line
    if at >= len(lines) or not lines[at].strip():
        message = f"{path}:{at + 1}: this line does not exist or is blank"
        raise CommandError(message)
    return Scene(path, language_of(snapshot).id, (*lines[:at], "", *lines[at + 1 :]), at, lines[at])


async def type_line(scene: Scene, console: Console) -> list[Answer]:
    """Type the line, request a completion after each character, and print it."""
    answers = []
    uri = scene.path.resolve().as_uri()
    indent = len(scene.typed) - len(scene.typed.lstrip())
    async with connect(SETTINGS, root=scene.path.resolve().parent) as client:
        for message in client.errors:
            raise CommandError(message.removeprefix("starcoder-lsp: "))
        client.open(uri, scene.language_id, scene.text)
        client.insert(uri, scene.at, 0, scene.typed[:indent])
        for column in range(indent, len(scene.typed) + 1):
            if column > indent:
                client.insert(uri, scene.at, utf16(scene.typed[: column - 1]), scene.typed[column - 1])
            answer = await client.complete(uri, scene.at, utf16(scene.typed[:column]))
            answers.append(answer)
            console.print(line_of(scene.typed[indent:column], answer), soft_wrap=True)
    return answers


def utf16(text: str) -> int:
    """Return the length of a text in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def line_of(typed: str, answer: Answer) -> RichText:
    """Return the line of one keystroke: figures, the typed text, and the first line of the ghost text in grey."""
    first, newline, _ = answer.text.partition("\n")
    figures = f"{answer.elapsed_ms:7.1f} ms  {answer.n_reused:5d} reused  {answer.n_evaluated:5d} evaluated  "
    return RichText.assemble(
        (figures, "cyan"), typed, ("│", "bold"), (first + (" ⏎…" if newline else ""), "bright_black")
    )


def summary(answers: Sequence[Answer]) -> Table:
    """Return the table at the end."""
    shown = [answer for answer in answers if answer.text]
    table = Table(title="Cost")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_row("requests", str(len(answers)))
    table.add_row("with ghost text", f"{len(shown)} ({len(shown) / len(answers):.0%})")
    table.add_row("first answer", f"{answers[0].elapsed_ms:.1f} ms, {answers[0].n_evaluated} prompt tokens evaluated")
    later = answers[1:] or answers
    table.add_row("median keystroke", f"{median(a.elapsed_ms for a in later):.1f} ms")
    table.add_row("prompt tokens evaluated a keystroke, median", f"{median(a.n_evaluated for a in later):.0f}")
    table.add_row("prompt tokens reused a keystroke, median", f"{median(a.n_reused for a in later):.0f}")
    return table


def demo(place: str | None) -> int:
    """Run the demonstration. Return 0 if the server answered every request."""
    console = report_console(highlight=True)
    scene = set_scene(place)
    console.print(
        f"{scene.path.name}, line {scene.at + 1}, by the model that comes with the package (a demonstrator):\n"
    )
    try:
        answers = coroutines.run(type_line(scene, console))
    except ServerEndedError as error:
        raise CommandError(str(error)) from error
    console.print(summary(answers))
    return 0
