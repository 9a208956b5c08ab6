"""The page of `starcoder-lsp explain --html`: the file, with the parts that are in the prompt marked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from starcoder_lsp.context.explain import Json, PromptSegment
from starcoder_lsp.context.window import Segment, Window

OF_THE_FILE = ("prefix", "suffix", "middle")
CONTROL_PICTURES = 0x2400
"""U+2400 stands for U+0000, and so on for the 32 control characters of ASCII."""
CURSOR = '<span id="cursor" title="the cursor"></span>'

STYLE = """
:root { color-scheme: light dark; --dim: #6b7280; --cursor: #dc2626;
  --prefix: #0ea5e930; --suffix: #eab30838; --middle: #22c55e48; --other: #a855f730; }
@media (prefers-color-scheme: dark) { :root { --dim: #9ca3af; --cursor: #f87171; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, summary { font-size: 1.2rem; font-weight: 600; overflow-wrap: anywhere; }
table { border-spacing: 0 2px; }
th, td { padding: 0 .8rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; }
ol, pre { font: 14px/1.45 ui-monospace, monospace; tab-size: 4; }
ol { color: var(--dim); padding-left: 5em; }
li, pre { white-space: pre-wrap; overflow-wrap: anywhere; }
li { min-height: 1.45em; }
li::marker { color: var(--dim); }
li[class], mark { color: CanvasText; }
.prefix { background: var(--prefix); }
.suffix { background: var(--suffix); }
.middle { background: var(--middle); }
.other { background: var(--other); }
#cursor { border-left: 3px solid var(--cursor); }
""".strip()


def page_of(title: str, explained: Json, window: Window, segments: Sequence[PromptSegment]) -> str:
    """Return a self-contained HTML5 page: segments of other files, the file by line, and the prompt."""
    others = [each for each in segments if each.kind not in OF_THE_FILE]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_html(title)}</title>",
            "<style>",
            STYLE,
            "</style>",
            "</head>",
            "<body>",
            f"<h1>{_html(title)}</h1>",
            f'<p>{_html(summary(explained))}. <a href="#cursor">Go to the cursor</a></p>',
            "<table>",
            "<thead><tr><th>what</th><th>where</th><th>tokens</th><th>why</th></tr></thead>",
            "<tbody>",
            *map(_row, segments),
            "</tbody>",
            "</table>",
            *(line for segment in others for line in _other(segment)),
            "<h2>The file</h2>",
            '<ol id="file">',
            *_lines(window),
            "</ol>",
            "<details>",
            "<summary>The prompt as sent</summary>",
            f"<pre>\n{_html(explained['prompt'])}</pre>",  # HTML takes no notice of a line end right behind <pre>
            "</details>",
            "</body>",
            "</html>",
        ]
    )


def summary(explained: Json) -> str:
    """Return language, format and token counts in one line."""
    in_prompt, at_most = counted(explained["promptTokens"]), counted(explained["budgetTokens"])
    return f"{explained['language']}, {explained['format']}, {in_prompt} in the prompt, at most {at_most} of text"


def counted(n_tokens: int) -> str:
    """Return a number of tokens in words."""
    return f"{n_tokens} token{'s' * (n_tokens != 1)}"


def place_of(segment: PromptSegment) -> str:
    """Return the path and lines of a segment."""
    last = f"-{segment.end_line}" if segment.end_line > segment.start_line else ""
    return f"{visible(segment.path)}:{segment.start_line}{last}"


def visible(text: str, keep: str = "") -> str:
    """Replace control, bidirectional and other unprintable characters, which could mislead a terminal or a reader."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else _sign(c) for c in text)


def _sign(character: str) -> str:
    code = ord(character)
    return chr(CONTROL_PICTURES + code) if code < ord(" ") else f"<U+{code:04X}>"


def _html(text: str, *, quote: bool = False) -> str:
    """Escape a text for HTML; `quote` it inside an attribute."""
    return escape(visible(text, keep="\n\t"), quote)


def _class(kind: str) -> str:
    return kind if kind in OF_THE_FILE else "other"


def _row(segment: PromptSegment) -> str:
    where = _html(place_of(segment))
    if segment.kind in OF_THE_FILE:
        where = f'<a href="#L{segment.start_line}">{where}</a>'
    cells = f'<td class="{_class(segment.kind)}">{_html(segment.kind)}</td><td>{where}</td>'
    return f'<tr>{cells}<td class="number">{segment.n_tokens}</td><td>{_html(segment.why)}</td></tr>'


def _other(segment: PromptSegment) -> Iterator[str]:
    """Yield a segment of another file, with that file's line numbers."""
    yield f"<h2>{_html(place_of(segment))}</h2>"
    yield f'<ol start="{segment.start_line}">'
    for line in segment.text.decode("utf-8", "replace").removesuffix("\n").split("\n"):
        yield f'<li class="other" title="{_html(segment.why, quote=True)}">{_html(line)}</li>'
    yield "</ol>"


def _lines(window: Window) -> Iterator[str]:
    """Yield each line of the cursor's file as a list item."""
    parts = (window.prefix, window.middle, window.suffix)
    taken = sorted((s for part in parts for s in part.segments), key=lambda segment: segment.start_byte)
    ends = [segment.end_byte for segment in taken]
    text = window.snapshot.text
    for line in range(text.n_lines):
        start, end = text.line_span(line)
        first = bisect_right(ends, start)
        here = []
        while first < len(taken) and taken[first].start_byte < max(end, start + 1):
            here.append(taken[first])
            first += 1
        yield _line(window, line, here)


def _line(window: Window, line: int, here: Iterable[Segment]) -> str:
    """Return a line: with a class if one segment has all of it, otherwise with a mark for each segment."""
    text, cursor = window.snapshot.text, window.cursor_byte
    start, end = text.line_span(line)
    pieces = list(_pieces(start, end, here))
    is_cursors = text.line_of(cursor) == line
    if len(pieces) == 1 and not is_cursors and pieces[0][0] is not None:
        return f'<li id="L{line + 1}"{_about(pieces[0][0])}>{_text(window, start, end)}</li>'
    content = ""
    for segment, piece_start, piece_end in pieces:
        if is_cursors and piece_start == cursor:
            content += CURSOR
        inner = _text(window, piece_start, piece_end)
        content += f"<mark{_about(segment)}>{inner}</mark>" if segment and inner else inner
    if is_cursors and CURSOR not in content:
        content += CURSOR
    return f'<li id="L{line + 1}">{content}</li>'


def _pieces(start: int, end: int, here: Iterable[Segment]) -> Iterator[tuple[Segment | None, int, int]]:
    """Yield the byte ranges of a line, each with its segment or `None`."""
    at = start
    for segment in here:
        if at < segment.start_byte:
            yield None, at, segment.start_byte
        last = min(segment.end_byte, end)
        yield segment, max(at, segment.start_byte), last
        at = last
    if at < end:
        yield None, at, end


def _about(segment: Segment) -> str:
    return f' class="{_class(segment.kind)}" title="{_html(f"{segment.kind}: {segment.why}", quote=True)}"'


def _text(window: Window, start: int, end: int) -> str:
    return _html(window.snapshot.text.data[start:end].decode("utf-8", "replace"))
