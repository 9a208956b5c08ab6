"""A model file in llama.cpp, and what it makes of a hole: the likelihood of the hidden text, and a text of its own.

Two layouts: `psm` is split at the cursor; `anchored` is split at the start of the cursor's line, with what stands
before the cursor after `<fim_middle>` and token healing at the cursor. Nothing else is done to prompt or answer.
"""

from __future__ import annotations

import ctypes
import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from demo_model.cross_file import CrossFileHole
    from demo_model.holes import Hole, SourceFile

N_PREFIX_TOKENS = 768
N_SUFFIX_TOKENS = 192
N_OTHER_TOKENS = 640
"""Of another file in front of the prompt."""
N_NEW_TOKENS = 48
"""Of an answer that ends with its line."""
N_SPARE_TOKENS = 16
"""A block's answer may have twice the tokens of the hidden text and these: one that is longer is wrong in any case."""
N_CONTEXT = 2048
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
        return without_trailing_blanks(self.hole.middle)

    @property
    def is_exact(self) -> bool:
        """Return whether the answer is the hidden text, trailing blanks of each line aside."""
        return without_trailing_blanks(self.text) == self.expected

    @property
    def similarity(self) -> float:
        """Share of characters in matching blocks, 0 to 1 (`difflib`)."""
        answer = without_trailing_blanks(self.text)
        return difflib.SequenceMatcher(None, answer, self.expected, autojunk=False).ratio()


class Model:
    """A GGUF file in llama.cpp with one sequence, on the CPU. `held` are the token ids in its cells."""

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
        self.markers = self._read_markers()
        self.held: list[int] = []

    def _read_markers(self) -> dict[str, int]:
        """The ids of control tokens by their text."""
        ids = [token for token in range(self.n_vocab) if llama_cpp.llama_vocab_is_control(self.vocab, token)]
        return {llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace"): token for token in ids}

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

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return b"".join(self.pieces[token] for token in ids).decode("utf-8", "replace")

    def psm(self, prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """Lay the prompt out as prefix, suffix, middle."""
        before = llama_cpp.llama_vocab_fim_pre(self.vocab)
        after = llama_cpp.llama_vocab_fim_suf(self.vocab)
        return [before, *prefix, after, *suffix, llama_cpp.llama_vocab_fim_mid(self.vocab)]

    def stops_at(self, token: int) -> bool:
        """Return whether generation ends at `token`: any marker, `<file_sep>` and the FIM markers included."""
        return bool(llama_cpp.llama_vocab_is_control(self.vocab, token))

    def decode(self, ids: Sequence[int], start: int, n_logits: int) -> Logits:
        """Put `ids` from position `start` on, in place of what stood there.

        The result is `(n_logits, n_vocab)`: the logits behind each of the last `n_logits` tokens.
        """
        llama_cpp.llama_memory_seq_rm(self.memory, 0, start, -1)
        self.held[start:] = ids
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

    def evaluate(self, ids: Sequence[int], n_logits: int) -> Logits:
        """The logits behind each of the last `n_logits` of `ids`; what the cells hold of them is not decoded again."""
        n_most = len(ids) - n_logits
        n_same = next((i for i, (a, b) in enumerate(zip(self.held, ids, strict=False)) if a != b), len(self.held))
        start = min(n_same, n_most)
        return self.decode(ids[start:], start, n_logits)


def without_trailing_blanks(text: str) -> str:
    """The text without blanks at the ends of lines and without blank lines at its end."""
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


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


def shown(model: Model, before: str, after: str) -> tuple[list[int], list[int]]:
    """Token ids of as many whole lines before and after a cursor as the budgets allow."""
    lines_before, lines_after = LINE.findall(before), LINE.findall(after)
    n_before = whole_lines(model, lines_before[::-1], N_PREFIX_TOKENS)
    n_after = whole_lines(model, lines_after, N_SUFFIX_TOKENS)
    prefix = model.ids("".join(lines_before[len(lines_before) - n_before :]))[-N_PREFIX_TOKENS:]
    return prefix, model.ids("".join(lines_after[:n_after]))[:N_SUFFIX_TOKENS]


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


def line_is_over(written: bytes) -> bool:
    """Return whether an answer that ends with its line is complete."""
    return b"\n" in written


def block_is_over(written: bytes) -> bool:
    """Return whether the last line begins less indented than the first: it stands behind the block."""
    *_, last = lines = written.decode("utf-8", "ignore").split("\n")
    return len(lines) > 1 and bool(last.strip()) and indent(last) < indent(lines[0])


def indent(line: str) -> int:
    """How many characters of white space a line begins with."""
    return len(line) - len(line.lstrip())


def block_alone(written: str) -> str:
    """What was written of a block, up to where a line is less indented than the first one."""
    lines = written.split("\n")
    behind = (number for number, line in enumerate(lines) if line.strip() and indent(line) < indent(lines[0]))
    return "\n".join(lines[: next(behind, len(lines))])


@dataclass(frozen=True)
class Writer:
    """How an answer ends: when `is_over`, or after `n_tokens`."""

    is_over: Callable[[bytes], bool] = line_is_over
    n_tokens: int = N_NEW_TOKENS

    def write(self, model: Model, logits: Logits, owed: bytes) -> str:
        """Write greedily from `logits` on, at the end of what the model holds; first of all the bytes `owed`."""
        n_owed, written = len(owed), b""
        for _ in range(self.n_tokens):
            if owed:
                logits = np.where(agreeing(model, owed), logits, -np.inf)
            token = int(logits.argmax())
            if model.stops_at(token):
                break
            piece = model.pieces[token]
            written, owed = written + piece, owed[len(piece) :]
            if self.is_over(written[n_owed:]):
                break
            logits = model.decode([token], len(model.held), 1)[0]
        return written[n_owed:].decode("utf-8", "replace")


def fill(model: Model, hole: Hole, layouts: Sequence[str], *, is_block: bool = False) -> list[Answer]:
    """Answer `hole` in the layouts, each `psm` or `anchored`, and measure the cost of its hidden text.

    What the prompts begin with is evaluated once; nothing is kept from one hole to the next.
    """
    model.held.clear()
    return [fill_in(model, hole, layout, is_block=is_block) for layout in layouts]


def fill_in(model: Model, hole: Hole, layout: str, *, is_block: bool) -> Answer:
    """Answer `hole` in one layout.

    The cost in the anchored layout is an upper bound: one of many ways to cut the text into tokens is counted.
    """
    before, typed = hole.prefix, ""
    if layout == "anchored":
        cursor_line = hole.prefix.rfind("\n") + 1
        before, typed = hole.prefix[:cursor_line], hole.prefix[cursor_line:]
    typed_ids, owed = step_back(model, typed)
    prompt = [*model.psm(*shown(model, before, hole.suffix)), *typed_ids]
    hidden = model.ids(owed.decode() + hole.middle)
    logits = model.evaluate([*prompt, *hidden], len(hidden) + 1)
    cost = log_probabilities(logits[:-1], hidden).sum()
    if owed:
        first = np.exp(logits[0] - logits[0].max())
        cost -= np.log(first[agreeing(model, owed)].sum() / first.sum())
    del model.held[len(prompt) :]  # the answer goes there
    writer = Writer(block_is_over, 2 * len(hidden) + N_SPARE_TOKENS) if is_block else Writer()
    text = writer.write(model, logits[0], owed)
    return Answer(hole, block_alone(text) if is_block else text.split("\n")[0], float(cost))


@dataclass(frozen=True)
class CrossFileCosts:
    """Log-probabilities in nats of one hidden line, with and without another file in the prompt.

    `with_unrelated` shows a file of the package that has no part in the line; `None` where there is none. `is_unseen`
    says that the name stands nowhere in what is shown of the line's own file.
    """

    alone: float
    with_other: float
    with_unrelated: float | None
    is_unseen: bool


def cross_file_costs(model: Model, asked: CrossFileHole) -> CrossFileCosts:
    """Measure a hole that needs another file: in its own file alone, behind that other file, and behind a third one."""
    prefix, suffix = shown(model, asked.hole.prefix, asked.hole.suffix)
    hidden = model.ids(asked.hole.middle)

    def cost(head: Sequence[int], path: Sequence[int]) -> float:
        prompt = [*head, *model.psm([*path, *prefix], suffix)]
        logits = model.evaluate([*prompt, *hidden], len(hidden) + 1)
        return float(log_probabilities(logits[:-1], hidden).sum())

    model.held.clear()
    path = model.ids(f"{asked.file.path}\n")
    heads = [repository_head(model, asked.other, asked.defined_at)]
    heads += [repository_head(model, asked.unrelated, 0)] if asked.unrelated is not None else []
    with_other, *with_unrelated = (cost(head, path) for head in heads)
    is_unseen = asked.name not in model.text(prefix) + model.text(suffix)
    return CrossFileCosts(cost([], []), with_other, next(iter(with_unrelated), None), is_unseen)


def repository_head(model: Model, file: SourceFile, at: int) -> list[int]:
    r"""`<repo_name>name<file_sep>path\ncode<file_sep>`: of the code whole lines around the character `at`."""
    before, after = LINE.findall(file.text[:at]), LINE.findall(file.text[at:])
    n_after = whole_lines(model, after, N_OTHER_TOKENS * 3 // 4)
    code_after = model.ids("".join(after[:n_after]))
    n_before = whole_lines(model, before[::-1], N_OTHER_TOKENS - len(code_after))
    code = "".join([*before[len(before) - n_before :], *after[:n_after]])
    repository, separator = model.markers["<repo_name>"], model.markers["<file_sep>"]
    return [repository, *model.ids(file.package), separator, *model.ids(f"{file.path}\n{code}"), separator]
