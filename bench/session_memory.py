"""Memory that windows and cached lines of one document take, by the number of edits.

`python bench/session_memory.py TRACE [--model GGUF] [--as NAME] [--first N] [--edits N]`. The windows, anchors and
prompts are the server's; nothing is evaluated or generated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import quote

from starcoder_lsp.cli.bench.fleet import _resident_bytes as resident_bytes
from starcoder_lsp.cli.bench.traces import document_name, edits_of, read_trace, text_before
from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.engine.loading import read_prompts
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import ModelSettings, Settings

MIB = 1 << 20
N_ROWS = 8
N_SMALL_INTS = 257
"""Python has one object for each of the first integers."""


def cached_bytes(tokenizer: CachingTokenizer) -> tuple[int, int]:
    """Return how many lines are cached, and the bytes of them with their ids."""
    generations = tokenizer._known, tokenizer._older  # noqa: SLF001
    lines = [item for each in generations for item in each.items()]
    ids = {id(token_id): token_id for _, line_ids in lines for token_id in line_ids if token_id >= N_SMALL_INTS}
    objects = (*generations, *ids.values(), *(each for line in lines for each in line))
    return len(lines), sum(map(sys.getsizeof, objects))


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", default="", help="only its vocabulary is read")
    parser.add_argument("--as", dest="name")
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--edits", type=int, default=16_000)
    arguments = parser.parse_args()
    settings = Settings(model=ModelSettings(path=arguments.model))
    model, trace, documents = PromptBuilder.reading(read_prompts(settings)), read_trace(arguments.trace), Documents()
    uri = f"file:///{quote(document_name(trace, arguments.name))}"
    documents.open(uri, "", 0, text_before(trace, arguments.first))
    for n, edit in enumerate(edits_of(trace, arguments.first, arguments.edits), 1):
        changes = [Edit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes]
        snapshot = documents.change(uri, n, changes, "utf-32")
        cursor_byte = snapshot.text.byte_at(edit.line, edit.character, "utf-32")
        window = choose_window(CompletionRequest(snapshot, cursor_byte, model, settings))
        model.anchors.remember(window)
        build_prompt(window, model)
        if n % max(1, arguments.edits // N_ROWS) and n > 1:
            continue
        n_lines, n_bytes = cached_bytes(model.tokenizer)
        windows = model.anchors._by_uri[uri].windows  # noqa: SLF001
        texts = {id(each.snapshot.text): len(each.snapshot.text.data) for each in windows}
        print(
            f"{n:7,} edits: {(resident_bytes() or 0) / MIB:6.1f} MiB resident; {n_lines:,} lines cached,"
            f" {n_bytes / MIB:.2f} MiB; {len(windows)} windows, whose texts are {sum(texts.values()) / MIB:.2f} MiB"
        )


if __name__ == "__main__":
    main()
