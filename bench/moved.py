"""Measure what reusing cells whose text has moved (`cache.reuseMoved`) does to the model's predictions.

`python bench/moved.py FOLDER... [--model GGUF] [--holes N] [--seed N]`. Holes hide the rest of a line (as in `bench
context`), `--holes` of each folder. The prompt at a line end up to `MAX_JUMP_LINES` away is evaluated first, then the
prompt at the hole: once anew, and once with the cells of the first one. A row for each number of tokens of a run that
are evaluated anew (`N_ANEW`), with means over the holes: evaluated tokens; the Kullback-Leibler divergence of the first
token's distribution, in nats; the change of the hidden text's log-probability, with its standard error; the share of
holes where the likeliest first token, and the whole greedy line, are the same.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from starcoder_lsp.cli.bench.context import holes_in
from starcoder_lsp.cli.bench.holes import Hole
from starcoder_lsp.engine.engine import Prompt
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local import moved
from starcoder_lsp.engine.local.kv_cache import CachedSequence, evaluate_slice, rewind
from starcoder_lsp.engine.local.llama import LlamaContext
from starcoder_lsp.engine.local.load_options import LoadOptions
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import Settings

N_CONTEXT = 4096
MAX_JUMP_LINES = 25
MAX_LINE_TOKENS = 16
SPARE_SEQUENCE = 1
N_ANEW_TRIED = (0, 4, 8, 16)


@frozen
class Predicted:
    """The model's predictions behind a prompt: `first` are the log-probabilities of the first token, in nats."""

    n_evaluated: int
    n_behind: int
    """Tokens behind the beginning that the prompt shares with the one before: evaluated without reuse."""
    first: NDArray[np.float64]
    hidden_nats: float
    line: tuple[int, ...]


@frozen
class Bench:
    """A context, and what makes prompts for it."""

    context: LlamaContext
    prompts: PromptModel

    @classmethod
    def of(cls, path: Path) -> Bench:
        """Load a model."""
        prompts = read_prompt_model(path, N_CONTEXT)
        options = LoadOptions(path, N_CONTEXT, prompts.n_bytes, n_gpu_layers=0)
        return cls(LlamaContext(options, prompts.tokenizer.pieces), prompts)

    def prompts_at(self, hole: Hole, rng: random.Random) -> tuple[Prompt, Prompt]:
        """Return the prompts at a line end near the hole, and at the hole."""
        builder, settings = PromptBuilder.reading(self.prompts), Settings()
        snapshot, cursor_byte = hole.snapshot(""), len(hole.before.encode())
        text = snapshot.text
        line = text.line_of(cursor_byte) + rng.choice((-1, 1)) * rng.randint(2, MAX_JUMP_LINES)
        line = min(max(0, line), text.n_lines - 1)
        window = choose_window(CompletionRequest(snapshot, text.line_span(line)[1], builder, settings))
        builder.anchors.remember(window)
        at_hole = choose_window(CompletionRequest(snapshot, cursor_byte, builder, settings))
        return build_prompt(window, builder), build_prompt(at_hole, builder)

    def predicted(self, ids: Sequence[int], before: Sequence[int], hidden: Sequence[int], n_anew: int = 0) -> Predicted:
        """Evaluate a prompt behind that of another place, or behind nothing, and return what the model predicts."""
        context, cached = self.context, CachedSequence(0)
        rewind(context, cached, 0)
        self._evaluate(cached, before)
        n_matched = cached.match(ids)
        run = moved.longest_run(cached.ids, ids, n_matched, n_anew)
        if run is None:
            rewind(context, cached, n_matched)
        else:
            aside = moved.set_aside(context, cached, SPARE_SEQUENCE, n_matched, run)
            self._evaluate(cached, ids[n_matched : run.at])
            moved.put_back(context, cached, aside)
        self._evaluate(cached, ids[len(cached.ids) :])
        n_evaluated = len(ids) - n_matched - (run.n if run is not None else 0)
        first = self._log_probabilities()
        hidden_nats, found = 0.0, first
        for position, token_id in enumerate(hidden, len(ids)):
            hidden_nats += float(found[token_id])
            context.decode(0, [token_id], position)
            found = self._log_probabilities()
        context.truncate(0, len(ids))
        return Predicted(
            n_evaluated, len(ids) - n_matched, first, hidden_nats, self._line(len(ids), int(first.argmax()))
        )

    def _evaluate(self, cached: CachedSequence, ids: Sequence[int]) -> None:
        for first in range(0, len(ids), self.context.n_slice):
            evaluate_slice(self.context, cached, ids[first : first + self.context.n_slice], lambda: False)

    def _log_probabilities(self) -> NDArray[np.float64]:
        logits = self.context.logits().astype(np.float64)
        total: float = np.logaddexp.reduce(logits)
        return logits - total

    def _line(self, position: int, token_id: int) -> tuple[int, ...]:
        """Return the greedy rest of the line, which begins with a token at a position."""
        line = [token_id]
        while self.prompts.tokenizer.piece(line[-1]) and b"\n" not in self.prompts.tokenizer.piece(line[-1]):
            if len(line) == MAX_LINE_TOKENS:
                break
            self.context.decode(0, [line[-1]], position + len(line) - 1)
            line.append(int(self.context.logits().argmax()))
        return tuple(line)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=DEMONSTRATOR)
    parser.add_argument("--holes", type=int, default=75)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    bench, rng = Bench.of(arguments.model), random.Random(arguments.seed)  # noqa: S311  not a secret
    pairs: dict[int, list[tuple[Predicted, Predicted]]] = {n_anew: [] for n_anew in N_ANEW_TRIED}
    for folder in arguments.folders:
        for hole in holes_in(folder, Settings(), arguments.holes, arguments.seed):
            before, prompt = bench.prompts_at(hole, rng)
            hidden = bench.prompts.tokenizer.encode(prompt.heal + hole.hidden.encode())
            anew = bench.predicted(prompt.ids, (), hidden)
            for n_anew, measured in pairs.items():
                measured.append((anew, bench.predicted(prompt.ids, before.ids, hidden, n_anew)))
    n_behind = fmean(reused.n_behind for _, reused in pairs[0])
    print(f"{len(pairs[0])} holes; without reuse {n_behind:.0f} evaluated")
    for n_anew, measured in pairs.items():
        nats = [reused.hidden_nats - anew.hidden_nats for anew, reused in measured]
        print(
            f"{n_anew:3} anew: {fmean(reused.n_evaluated for _, reused in measured):5.0f} evaluated,"
            f" divergence {fmean((np.exp(a.first) * (a.first - b.first)).sum() for a, b in measured):.4f},"
            f" hidden text {fmean(nats):+.3f} ± {pstdev(nats) / len(nats) ** 0.5:.3f} nats,"
            f" same first token {fmean(a.line[0] == b.line[0] for a, b in measured):.1%},"
            f" same line {fmean(a.line == b.line for a, b in measured):.1%}"
        )


if __name__ == "__main__":
    main()
