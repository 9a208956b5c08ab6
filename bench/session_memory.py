"""Memory that windows and cached lines of one document take, by the number of edits.

`python bench/session_memory.py TRACE [--model GGUF] [--as NAME] [--first N] [--edits N]`. The windows, anchors and
prompts are the server's; nothing is evaluated or generated.
"""

from __future__ import annotations

import sys

from trace_windows import Replay, options

from starcoder_lsp.cli.bench.fleet import _resident_bytes as resident_bytes
from starcoder_lsp.context.caching_tokenizer import CachingTokenizer

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
    arguments = options(__doc__, first=1000, n_edits=16_000).parse_args()
    replay = Replay.of(arguments)
    model, uri = replay.model, replay.uri
    for n, _step in enumerate(replay.steps(), 1):
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
