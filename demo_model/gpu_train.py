"""Step 2, on a GPU: train `base` on one H100 or H200 in a few minutes, and write the model back in pieces.

Everything is inside the time that `--minutes` gives, from the start of Python to the last written byte: reading the
token file, compiling, training, evaluating, exporting. The schedule follows the clock, so that the learning rate is at
zero in the end whatever the speed is. Processes of their own draw the rows. From half of the time on the model is
exported after every evaluation, so that a run that is cut off leaves something.

Needs `tokens.xz` and `tokenizer.json` of step 1 and the packages torch, numpy, tokenizers and gguf; no network.
Writes into `--out`: `part-000` and so on with `sha256` (a GGUF file in pieces, see `pieces.py`), and `log.json`.
`--device cpu --steps 50 --shape small` tries all of it on a machine without a GPU.

What to expect on an H100, on paper. `base` has 18.8 M parameters in its blocks and 8.4 M in its embedding. Operations a
token: 6 x 18.8 M = 113 M in the blocks; 6 x 8.4 M x 0.3 = 15 M in the output matrix, which is applied to 30% of the
positions; about 3.5 x 7 layers x 4 x 512 x 1024 = 51 M in attention (rows of 2,048 tokens, half of the matrix, backward
2.5 times forward). Together 179 M. The chip's bfloat16 peak is 989 TFLOP/s; layers as narrow as 512 leave most of it
unused, and 20% to 30% is what such models reach: 1.1 to 1.6 M tokens a second. Of 8 minutes about 75 s go to
start-up, compilation, evaluation and export, which leaves 405 s: 440 to 660 M tokens, 9 to 14 times the corpus, in
3,400 to 5,000 steps of 131,072 tokens. A process draws 0.6 M tokens a second or more: 4 would do, 12 are asked.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from demo_model import default_work_dir
from demo_model.export import export, read_back
from demo_model.model import SHAPES, StarCoder2
from demo_model.pieces import write_pieces
from demo_model.samples import Corpus, Sampler
from demo_model.token_file import read_token_file
from demo_model.training import (
    PEAK_LR,
    Batch,
    HeldOut,
    learning_rate,
    make_batch,
    make_optimizers,
    set_learning_rate,
)

STARTED = time.monotonic()
SHARE_OF_POSITIONS = 0.3
"""Share of a row's tokens at which the loss is computed: batches are large, and their gradients have little noise."""
EXPORT_S = 6.0
"""Time kept back for the last evaluation, the export and the writing."""
LOGGED_EVERY = 20
"""Steps between two looks at the loss, which wait for the GPU."""


class Rows(IterableDataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Endless batches, drawn in the loader's processes; ids and positions travel as 32 bits."""

    def __init__(self, corpus: Corpus, n_tokens: int, n_rows: int) -> None:
        self.corpus, self.n_tokens, self.n_rows = corpus, n_tokens, n_rows

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        torch.set_num_threads(1)
        info = get_worker_info()
        seed = info.id if info is not None else 0
        sampler, rng = Sampler(self.corpus, seed), np.random.default_rng(seed)
        while True:
            batch = make_batch(sampler, rng, self.n_tokens, self.n_rows, SHARE_OF_POSITIONS)
            yield batch.ids.int(), batch.positions.int(), batch.weights


def make_loader(args: argparse.Namespace, corpus: Corpus) -> Iterator[Any]:
    """Batches that are drawn ahead of time, in pinned memory if there is a GPU."""
    return iter(
        DataLoader(
            Rows(corpus, args.row_length, args.rows),
            batch_size=None,
            num_workers=args.workers,
            prefetch_factor=3 if args.workers else None,
            pin_memory=args.device == "cuda",
            multiprocessing_context="fork" if args.workers else None,
        )
    )


def write_model(args: argparse.Namespace, model: StarCoder2, n_tokens: int) -> None:
    """Export the model as it is, in pieces."""
    file = args.out / "model.gguf"
    parameters = {name: parameter.detach().cpu() for name, parameter in model.state_dict().items()}
    tokenizer = json.loads((args.work_dir / "tokenizer.json").read_text("utf-8"))
    export({"shape": vars(model.shape), "model": parameters, "n_tokens": n_tokens}, tokenizer, file, "q8_0")
    write_pieces(file, args.out)
    file.unlink()


def train(args: argparse.Namespace) -> None:
    """Train, evaluate and export within the time."""
    args.out.mkdir(parents=True, exist_ok=True)
    log: dict[str, Any] = {"settings": {name: str(value) for name, value in vars(args).items()}, "rows": []}

    def tell(**row: Any) -> None:
        row = {"at_s": round(time.monotonic() - STARTED, 2), **row}
        log["rows"].append(row)
        print(json.dumps(row), flush=True)
        (args.out / "log.json").write_text(json.dumps(log, indent=1))

    tokens = read_token_file(args.work_dir / "tokens.xz")
    tokenizer = Tokenizer.from_file(str(args.work_dir / "tokenizer.json"))
    corpus, held_out = Corpus(tokens, tokenizer), Corpus(tokens, tokenizer, held_out=True)
    evaluation = HeldOut(Sampler(held_out, 1), args.row_length, args.evaluation_rows)
    loader = make_loader(args, corpus)  # forks its processes before this one uses the GPU
    first = next(loader)
    tell(what="corpus", n_tokens=len(corpus.ids), n_files=len(corpus.files))

    device = torch.device(args.device)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    if args.start_from is None:
        model = StarCoder2(SHAPES[args.shape])
    else:
        shape, parameters = read_back(args.start_from)
        model = StarCoder2(shape)
        model.load_state_dict(parameters)
    model.to(device)
    on_gpu = device.type == "cuda"
    optimizers = make_optimizers(model, on_gpu=on_gpu)
    n_parameters = sum(p.numel() for p in model.parameters())
    tell(what="model", n_parameters=n_parameters, device=torch.cuda.get_device_name() if on_gpu else "cpu")
    loss_of = torch.compile(model.loss, dynamic=False) if args.compile else model.loss

    end = STARTED + args.minutes * 60 - EXPORT_S
    step, n_tokens, n_at_look = 0, 0, 0
    begun = looked = time.monotonic()
    evaluated = begun
    batch = first
    while True:
        now = time.monotonic()
        progress = step / args.steps if args.steps else (now - begun) / (end - begun)
        if progress >= 1 or now >= end:
            break
        set_learning_rate(optimizers, args.peak_lr * learning_rate(progress))
        on_device = Batch(*(part.to(device, non_blocking=True) for part in batch))
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss = loss_of(on_device.ids.long(), on_device.positions.long(), on_device.weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        batch = next(loader)
        step += 1
        n_tokens += args.rows * args.row_length
        if step == 1 or step % LOGGED_EVERY == 0:
            value = loss.item()  # waits for the GPU
            now = time.monotonic()
            if step == 1:  # the schedule begins when everything is compiled
                begun = evaluated = now
            rate = (n_tokens - n_at_look) / (now - looked)
            tell(step=step, progress=round(progress, 4), m_tokens=n_tokens / 1e6, loss=value, tokens_per_s=round(rate))
            n_at_look, looked = n_tokens, now
        if now - evaluated > args.evaluated_every_s:
            tell(step=step, m_tokens=n_tokens / 1e6, held_out=evaluation.losses(model))
            if progress > 0.5:
                write_model(args, model, n_tokens)
            n_at_look, looked = n_tokens, time.monotonic()
            evaluated = looked
    write_model(args, model, n_tokens)
    tell(what="exported", step=step, m_tokens=n_tokens / 1e6)
    tell(what="done", held_out=evaluation.losses(model), tokens_per_s=round(n_tokens / (time.monotonic() - begun)))


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir(), help="where tokens.xz is")
    parser.add_argument("--out", type=Path, required=True, help="where the pieces and the log go")
    parser.add_argument("--minutes", type=float, default=8.0, help="in all, start and end included")
    parser.add_argument("--steps", type=int, default=0, help="end after so many steps, if that is earlier")
    parser.add_argument("--shape", choices=SHAPES, default="base", help="of a new model")
    parser.add_argument("--from", dest="start_from", type=Path, metavar="GGUF", help="begin with an exported model")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="by default on a GPU alone")
    parser.add_argument("--rows", type=int, default=64, help="a step")
    parser.add_argument("--row-length", type=int, default=2048, help="in tokens")
    parser.add_argument("--workers", type=int, default=min(12, os.cpu_count() or 1), help="processes that draw rows")
    parser.add_argument("--peak-lr", type=float, default=PEAK_LR)
    parser.add_argument("--evaluation-rows", type=int, default=64)
    parser.add_argument("--evaluated-every-s", type=float, default=60.0)
    args = parser.parse_args()
    if args.compile is None:
        args.compile = args.device == "cuda"
    train(args)
    os._exit(0)  # the loader's processes are drawing rows that nobody wants any more


if __name__ == "__main__":
    main()
