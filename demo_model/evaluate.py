"""Step 4: measure an exported file on the held-out packages, through llama.cpp, as a user runs it.

The holes are those of `holes.py`. Two layouts: `psm` is split at the cursor; `anchored` is split at the start of the
cursor's line, with what stands before the cursor after `<fim_middle>` and token healing at the cursor. Nothing else is
done to prompt or answer, and no other file is shown: the figures are the model's own and not the server's. Also
measured: the loss left to right.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import json
import math
import random
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from demo_model import default_work_dir
from demo_model.holes import pick_holes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo_model.holes import Hole

DEFAULT_MODEL = Path(__file__).parent.parent / "starcoder_lsp" / "demonstrator" / "starcoder-lsp-demonstrator.gguf"
N_PREFIX_TOKENS = 768
N_SUFFIX_TOKENS = 192
N_NEW_TOKENS = 48
N_WINDOW_TOKENS = 1024
N_CONTEXT = 2048
# An answer of so few characters is mostly closing brackets and colons, which need no model.
N_TRIVIAL = 3
# At column 0 both layouts are the same.
CASES = (
    ("whole_line", "anchored"),
    ("rest_of_line", "anchored"),
    ("rest_of_line", "psm"),
    ("mid_word", "anchored"),
    ("mid_word", "psm"),
)
LINE = re.compile(r"[^\n]*\n|[^\n]+")
Logits = NDArray[np.float32]
SILENCE = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)


@dataclass(frozen=True)
class Answer:
    """What the model wrote into a hole, and the log-probability in nats of what stood there."""

    hole: Hole
    text: str
    log_probability: float

    @property
    def expected(self) -> str:
        """The hidden text without trailing blanks, which no reader can see."""
        return self.hole.middle.rstrip()

    @property
    def is_exact(self) -> bool:
        """Whether the answer is the hidden text, trailing blanks aside."""
        return self.text.rstrip() == self.expected

    @property
    def similarity(self) -> float:
        """Share of characters in matching blocks, 0 to 1 (`difflib`)."""
        return difflib.SequenceMatcher(None, self.text.rstrip(), self.expected, autojunk=False).ratio()


@dataclass(frozen=True)
class Figures:
    """What one kind of hole came to; shares are 0 to 1, log-probabilities in nats."""

    n_holes: int
    exact: float
    exact_standard_error: float
    exact_not_trivial: float
    share_trivial: float
    similarity: float
    log_probability_per_character: float
    median_characters: float
    p90_characters: float


class Model:
    """A GGUF file in llama.cpp with one sequence, on the CPU."""

    def __init__(self, path: Path, n_threads: int, *, lays_out_anew: bool = True) -> None:
        """Load `path`; `SystemExit` if llama.cpp refuses it.

        Unless it `lays_out_anew`, weights stay as they are in the file: some builds crash in what they do otherwise.
        """
        llama_cpp.llama_log_set(SILENCE, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = lays_out_anew
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not model:
            msg = f"llama.cpp cannot load {path}"
            raise SystemExit(msg)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = N_CONTEXT
        params.n_threads = params.n_threads_batch = n_threads
        self.context = llama_cpp.llama_init_from_model(model, params)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocab = llama_cpp.llama_model_get_vocab(model)
        self.n_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.batch = llama_cpp.llama_batch_init(N_CONTEXT, 0, 1)
        self.pieces = [self.piece(token) for token in range(self.n_vocab)]

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text; markers in it are text too."""
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 1))()
        n_tokens = llama_cpp.llama_tokenize(self.vocab, data, len(data), room, len(room), False, False)  # noqa: FBT003
        return list(room[:n_tokens])

    def piece(self, token: int) -> bytes:
        """Return the bytes of one token."""
        room = ctypes.create_string_buffer(256)
        n_bytes = llama_cpp.llama_token_to_piece(self.vocab, token, room, len(room), 0, False)  # noqa: FBT003
        return room.raw[: max(n_bytes, 0)]

    def psm(self, prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """Lay the prompt out as prefix, suffix, middle."""
        before = llama_cpp.llama_vocab_fim_pre(self.vocab)
        after = llama_cpp.llama_vocab_fim_suf(self.vocab)
        return [before, *prefix, after, *suffix, llama_cpp.llama_vocab_fim_mid(self.vocab)]

    def stops_at(self, token: int) -> bool:
        """Whether generation ends at `token`: any marker, `<file_sep>` and the FIM markers included."""
        return bool(llama_cpp.llama_vocab_is_control(self.vocab, token))

    def decode(self, ids: Sequence[int], start: int, n_logits: int) -> Logits:
        """Put `ids` from position `start` on, in place of what stood there.

        The result is `(n_logits, n_vocab)`: the logits behind each of the last `n_logits` tokens.
        """
        llama_cpp.llama_memory_seq_rm(self.memory, 0, start, -1)
        self.batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            self.batch.token[i], self.batch.pos[i] = token, start + i
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, 0
            self.batch.logits[i] = i >= len(ids) - n_logits
        code = llama_cpp.llama_decode(self.context, self.batch)
        if code != 0:
            msg = f"llama_decode answers {code} for {len(ids)} tokens at {start}"
            raise RuntimeError(msg)
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (n_logits, self.n_vocab)).copy()


def log_probabilities(logits: Logits, ids: Sequence[int]) -> NDArray[np.float64]:
    """Log-probability in nats of each of `ids` under its row of `logits`."""
    rows = logits - logits.max(axis=1, keepdims=True)
    totals = np.exp(rows).sum(axis=1, dtype=np.float64)
    chosen: NDArray[np.float64] = rows[np.arange(len(ids)), list(ids)] - np.log(totals)
    return chosen


def whole_lines(model: Model, lines: Sequence[str], n_tokens: int) -> int:
    """How many of `lines`, from the first on, make at most `n_tokens` tokens."""
    spent = 0
    for i, line in enumerate(lines):
        spent += len(model.ids(line))
        if spent > n_tokens:
            return i
    return len(lines)


def lay_out(model: Model, before: str, after: str) -> list[int]:
    """Make a PSM prompt of as many whole lines as the budgets allow."""
    lines_before, lines_after = LINE.findall(before), LINE.findall(after)
    n_before = whole_lines(model, lines_before[::-1], N_PREFIX_TOKENS)
    n_after = whole_lines(model, lines_after, N_SUFFIX_TOKENS)
    prefix = model.ids("".join(lines_before[len(lines_before) - n_before :]))[-N_PREFIX_TOKENS:]
    return model.psm(prefix, model.ids("".join(lines_after[:n_after]))[:N_SUFFIX_TOKENS])


def step_back(model: Model, typed: str) -> tuple[list[int], bytes]:
    """Split `typed` into whole tokens and the bytes of the last one, which the model is to write again.

    The second part begins with a character: a token may hold only some of a character's bytes.
    """
    ids, owed = model.ids(typed), b""
    while ids:
        owed = model.pieces[ids.pop()] + owed
        if owed[0] & 0xC0 != 0x80:
            break
    return ids, owed


def agreeing(model: Model, owed: bytes) -> NDArray[np.bool_]:
    """Mark the tokens that agree with the bytes `owed`: those that begin with them, or are their beginning."""
    return np.array([piece != b"" and (piece.startswith(owed) or owed.startswith(piece)) for piece in model.pieces])


def write_line(model: Model, logits: Logits, position: int, owed: bytes) -> str:
    """Write greedily, from `logits` on, up to the end of the line; first of all the bytes `owed`."""
    n_owed, written = len(owed), b""
    for _ in range(N_NEW_TOKENS):
        if owed:
            logits = np.where(agreeing(model, owed), logits, -np.inf)
        token = int(logits.argmax())
        if model.stops_at(token):
            break
        piece = model.pieces[token]
        written, owed = written + piece, owed[len(piece) :]
        if b"\n" in piece:
            break
        logits = model.decode([token], position, 1)[0]
        position += 1
    return written[n_owed:].split(b"\n")[0].decode("utf-8", "replace")


def fill(model: Model, hole: Hole, layout: str) -> Answer:
    """Answer `hole` in the layout `psm` or `anchored`, and measure the cost of its hidden text.

    The cost in the anchored layout is an upper bound: one of many ways to cut the text into tokens is counted.
    """
    before, typed = hole.prefix, ""
    if layout == "anchored":
        cursor_line = hole.prefix.rfind("\n") + 1
        before, typed = hole.prefix[:cursor_line], hole.prefix[cursor_line:]
    typed_ids, owed = step_back(model, typed)
    prompt = [*lay_out(model, before, hole.suffix), *typed_ids]
    hidden = model.ids(owed.decode() + hole.middle)
    logits = model.decode([*prompt, *hidden], 0, len(hidden) + 1)
    cost = log_probabilities(logits[:-1], hidden).sum()
    if owed:
        first = np.exp(logits[0] - logits[0].max())
        cost -= np.log(first[agreeing(model, owed)].sum() / first.sum())
    return Answer(hole, write_line(model, logits[0], len(prompt), owed), float(cost))


def summarize(answers: Sequence[Answer]) -> Figures:
    """Means over `answers`, which must not be empty."""
    exact = statistics.fmean(answer.is_exact for answer in answers)
    lengths = [len(answer.expected) for answer in answers]
    not_trivial = [answer for answer in answers if len(answer.expected) > N_TRIVIAL]
    return Figures(
        n_holes=len(answers),
        exact=exact,
        exact_standard_error=math.sqrt(exact * (1 - exact) / len(answers)),
        exact_not_trivial=statistics.fmean(answer.is_exact for answer in not_trivial) if not_trivial else math.nan,
        share_trivial=1 - len(not_trivial) / len(answers),
        similarity=statistics.fmean(answer.similarity for answer in answers),
        log_probability_per_character=sum(answer.log_probability for answer in answers)
        / sum(len(answer.hole.middle) for answer in answers),
        median_characters=statistics.median(lengths),
        p90_characters=float(np.quantile(lengths, 0.9)),
    )


def left_to_right_loss(model: Model, texts: Sequence[str], n_windows: int, seed: int) -> tuple[float, float]:
    """Mean loss in nats a token and nats a byte, over windows of `N_WINDOW_TOKENS` tokens that begin with a line."""
    rng = random.Random(f"windows {seed}")
    nats, n_tokens, n_bytes = 0.0, 0, 0
    for text in rng.choices(texts, weights=[len(text) for text in texts], k=n_windows):
        start = text.rfind("\n", 0, rng.randrange(len(text))) + 1
        ids = model.ids(text[start:])[:N_WINDOW_TOKENS]
        if len(ids) > 1:
            nats -= float(log_probabilities(model.decode(ids, 0, len(ids))[:-1], ids[1:]).sum())
            n_tokens += len(ids) - 1
            n_bytes += sum(len(model.piece(token)) for token in ids[1:])
    return nats / n_tokens, nats / n_bytes


def table(figures: dict[str, Figures]) -> str:
    """Lay the figures out as a Markdown table."""
    heads = ["hole", "n", "exact", f"exact, over {N_TRIVIAL} characters", f"{N_TRIVIAL} characters or fewer"]
    heads += ["edit similarity", "log-prob a character", "characters: median, 90%"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows += [
        f"| {kind} | {f.n_holes} | {f.exact:.1%} ± {f.exact_standard_error:.1%} | {f.exact_not_trivial:.1%} | "
        f"{f.share_trivial:.1%} | {f.similarity:.3f} | {f.log_probability_per_character:.3f} | "
        f"{f.median_characters:.0f}, {f.p90_characters:.0f} |"
        for kind, f in figures.items()
    ]
    return "\n".join(rows)


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--holes", type=int, default=500, help="holes of each kind and layout")
    parser.add_argument("--windows", type=int, default=100, help="windows for the loss left to right")
    parser.add_argument("--threads", type=int, default=2, help="fewer than the idle cores: llama.cpp's threads spin")
    parser.add_argument("--plain-weights", action="store_true", help="slower, where a build of llama.cpp crashes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--show", type=int, default=0, help="also print so many answers of each kind")
    args = parser.parse_args()

    texts = [text for _, _, text in json.loads((args.work_dir / "held_out.json").read_text("utf-8"))]
    model = Model(args.model, args.threads, lays_out_anew=not args.plain_weights)
    figures: dict[str, Figures] = {}
    for kind, layout in CASES:
        answers = [fill(model, hole, layout) for hole in pick_holes(texts, kind, args.holes, args.seed)]
        figures[f"{kind}, {layout}"] = summarize(answers)
        for answer in answers[: args.show]:
            line = answer.hole.prefix.rpartition("\n")[2]
            print(f"{'=' if answer.is_exact else ' '} {line}█{answer.expected}\n  {line}█{answer.text}")
    per_token, per_byte = left_to_right_loss(model, texts, args.windows, args.seed)
    if args.json:
        holes = {kind: asdict(figure) for kind, figure in figures.items()}
        print(json.dumps({"holes": holes, "nats_per_token": per_token, "nats_per_byte": per_byte}, indent=2))
    else:
        print(table(figures))
        print(f"left to right, {args.windows} windows: {per_token:.3f} nats a token, {per_byte:.3f} nats a byte")


if __name__ == "__main__":
    main()
