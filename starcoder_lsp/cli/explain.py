"""`starcoder-lsp explain FILE:LINE:COLUMN`: the prompt there and why, in colour, as JSON or as a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from attrs import evolve
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text as RichText

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.complete import configured, read_position, write_out
from starcoder_lsp.cli.explain_page import counted, page_of, place_of, summary, visible
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.cli.place import workspace_context_of
from starcoder_lsp.context.explain import Json, PromptSegment, explain, list_segments
from starcoder_lsp.engine.engine import EngineError, Prompt
from starcoder_lsp.engine.limits import describe_engine
from starcoder_lsp.engine.loading import configured_capabilities, read_configured_prompts
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.suggestions.postprocess import FILTERS

COLOURS = {"prefix": "cyan", "suffix": "yellow", "middle": "green"}
OTHER_COLOUR = "magenta"
N_SHOWN_LINES = 6
"""Lines shown at each end of a long segment. Not measured."""
N_TAB_COLUMNS = 4
GUTTER = "│ "
CURSOR = "█"


def explain_at(place: str, *, as_json: bool, as_html: bool, model: str | None) -> int:
    """Write the prompt at a position to standard output, with its segments and the reasons for them."""
    position = read_position(place, configured(model))
    try:
        reader = PromptBuilder.reading(read_configured_prompts(position.settings))
    except EngineError as error:
        raise CommandError(str(error)) from error
    started = time.perf_counter()
    context = workspace_context_of(position.path)
    window = choose_window(
        CompletionRequest(position.snapshot, position.cursor_byte, reader, position.settings, context)
    )
    prompt = build_prompt(window, reader)
    explained = explain(window, prompt, reader.tokenizer, position.snapshot.uri) | {
        "engine": describe_engine(
            position.settings.engine.kind, reader.prompts.name, configured_capabilities(position.settings)
        ),
        "timingsMs": {"window": round((time.perf_counter() - started) * 1000, 3)},
        "filters": [{"name": each.__name__, "effect": "not run"} for each in FILTERS],
        "gate": None,
    }
    segments = list_segments(window, reader.tokenizer, str(position.path))
    if as_json:
        write_out(json.dumps(explained, indent=2))
    elif as_html:
        write_out(page_of(place, explained, window, segments))
    else:
        console = report_console()
        with console.capture() as shown:
            print_explained(console, place, explained, in_order(prompt, reader, segments))
        write_out(shown.get().rstrip("\n"))
    return 0


def in_order(
    prompt: Prompt, model: PromptBuilder, segments: Sequence[PromptSegment]
) -> Iterator[str | bytes | PromptSegment]:
    """Yield the prompt from start to end: names of markers, segments, and the bytes between them."""
    kinds = {model.prompts.fim.prefix: "prefix", model.prompts.fim.suffix: "suffix", model.prompts.fim.middle: "middle"}
    left = list(segments)
    for marker, text in _runs(prompt, model.tokenizer):
        if marker is not None:
            yield model.tokenizer.spelling(marker).decode()
        kind = kinds.get(marker) if marker is not None else None
        at = 0
        while left and kind in (None, left[0].kind) and (found := text.find(left[0].text, at)) >= 0:
            if at < found:
                yield text[at:found]
            at = found + len(left[0].text)
            yield left.pop(0)
        if at < len(text):
            yield text[at:]


def _runs(prompt: Prompt, tokenizer: Tokenizer) -> Iterator[tuple[int | None, bytes]]:
    """Yield each marker with the text after it, healed bytes included."""
    marker, text = None, bytearray()
    for token_id in prompt.ids:
        piece = tokenizer.piece(token_id)
        if not piece:
            yield marker, bytes(text)
            marker, text = token_id, bytearray()
        text += piece
    yield marker, bytes(text) + prompt.heal


def print_explained(
    console: Console, title: str, explained: Json, parts: Iterator[str | bytes | PromptSegment]
) -> None:
    """Print the summary and then the prompt, with the cursor at its end."""
    *above, last = parts
    if isinstance(last, PromptSegment):
        above.append(evolve(last, text=last.text + CURSOR.encode()))
    else:
        above += [last, CURSOR.encode()]
    lines = [RichText(visible(title), "bold"), RichText(summary(explained))]
    for part in above:
        if isinstance(part, str):
            lines.append(RichText(visible(part), "bold"))
        elif isinstance(part, bytes):
            lines += _shown(part, "bright_black", console.width)
        else:
            colour = COLOURS.get(part.kind, OTHER_COLOUR)
            about = f"  {place_of(part)}  {counted(part.n_tokens)}  {visible(part.why)}"
            lines += [
                RichText.assemble((part.kind, f"bold {colour}"), about),
                *_shown(part.text, colour, console.width),
            ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _shown(text: bytes, colour: str, n_columns: int) -> Iterator[RichText]:
    """Yield the lines of a text; of a long one only the first and the last lines."""
    lines = text.decode("utf-8", "replace").removesuffix("\n").split("\n")
    n_left_out = len(lines) - 2 * N_SHOWN_LINES
    for i, line in enumerate(lines):
        if n_left_out <= 1 or not N_SHOWN_LINES <= i < N_SHOWN_LINES + n_left_out:
            yield RichText.assemble((GUTTER, colour), clipped(line, n_columns - len(GUTTER)))
        elif i == N_SHOWN_LINES:
            yield RichText.assemble((GUTTER, colour), (f"… {n_left_out} lines …", "dim"))


def clipped(line: str, n_columns: int) -> str:
    """Return a line in at most `n_columns`, without its middle if it is longer. A tab begins with an arrow."""
    line = visible(line.replace("\t", "→\t").expandtabs(N_TAB_COLUMNS))
    if cell_len(line) <= n_columns:
        return line
    n_half = (n_columns - 1) // 2
    return set_cell_size(line[:n_half], n_half) + "…" + set_cell_size(line[: -n_half - 1 : -1], n_half)[::-1]
