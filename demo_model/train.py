"""Step 2, on a CPU: train the model, for a given time, resuming from the last checkpoint.

Each core is a process of its own with its share of every step's rows; gradients are averaged once a step, and the
orthogonalizing of the matrices is shared out. Threads inside an operation would wait for each other hundreds of times a
second, which on a busy machine halves the speed. Processors with bfloat16 instructions (AMX or AVX-512) compute in
bfloat16, the others in float32.

The schedule follows the hours spent, not the steps, so that a slower machine trains less but still ends with the
learning rate at zero: warm-up, constant, then linear decay over the last 35%. Matrices are trained with Muon, the rest
with AdamW. A longer `--hours` goes on with the same checkpoint and raises the learning rate again. Where there is none
left, `--from` begins from an exported GGUF file, also from one with another vocabulary or fewer layers (`transfer.py`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, distributed, multiprocessing

from demo_model import default_work_dir
from demo_model.model import SHAPES, Shape, StarCoder2
from demo_model.muon import Muon
from demo_model.samples import Corpus, Sampler
from demo_model.token_file import read_token_file
from demo_model.training import (
    PEAK_LR,
    HeldOut,
    learning_rate,
    make_batch,
    make_optimizers,
    save,
    set_learning_rate,
)
from demo_model.transfer import transfer

SAVED_EVERY_S = 240.0
SHARE_OF_POSITIONS = 0.6
"""Share of a row's tokens at which the loss is computed.

With 0.6 a step takes 1.15 times as long as with 0.3, and more is learned: from scratch, after 8 minutes of half a core
each, the held-out loss of middles was 6.34 in 49 steps, and 6.40 in 57.
"""
MEASURED_STEPS = 20
"""Steps after which the speed is told: the first ones are slower."""


def row_length(progress: float, step: int) -> int:
    """Tokens a row at this point of the training: long rows cost more a token."""
    if progress < 0.3:
        return 512
    if progress < 0.75:
        return 1024 if step % 2 else 512
    return 2048 if step % 5 == 0 else 1024


def has_bfloat16() -> bool:
    """Return whether the processor multiplies matrices in bfloat16; without it that is slower than float32."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return bool(flags & {"amx_bf16", "avx512_bf16"})


def average_gradients(model: StarCoder2, n_processes: int) -> None:
    """Replace every gradient by its mean over the processes."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient) / n_processes)
        at += gradient.numel()


def start_model(args: argparse.Namespace, tokenizer: Tokenizer) -> StarCoder2:
    """A new model, or one that begins as that of a GGUF file."""
    torch.manual_seed(0)
    if args.start_from is None:
        return StarCoder2(SHAPES[args.shape])
    return transfer(args.start_from, SHAPES[args.shape], tokenizer)


def train(rank: int, args: argparse.Namespace, tokenizer: Tokenizer, corpus: Corpus, held_out: Corpus) -> None:
    """Train in one of the processes; the first one evaluates, saves and prints."""
    torch.set_num_threads(args.threads)
    distributed.init_process_group("gloo", init_method=args.rendezvous, rank=rank, world_size=args.processes)
    checkpoint = args.work_dir / f"{args.name}.pt"
    evaluation = HeldOut(Sampler(held_out, 1), 768, 32) if rank == 0 else None
    step, n_tokens, spent_s = 0, 0, 0.0
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    model = StarCoder2(Shape(**state["shape"])) if state else start_model(args, tokenizer)
    optimizers = make_optimizers(model)
    if state:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, n_tokens, spent_s = state["step"], state["n_tokens"], state["spent_s"]
    for optimizer in optimizers:
        if isinstance(optimizer, Muon) and args.processes > 1:
            optimizer.share(rank, args.processes, distributed.all_reduce)
    if rank == 0:
        print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)
    sampler = Sampler(corpus, step * args.processes + rank, args.favour)
    rng = np.random.default_rng(step * args.processes + rank)
    use_bfloat16 = has_bfloat16()

    last_save_s = spent_s
    parent = os.getppid()
    recent: list[tuple[int, float]] = []
    while spent_s < args.hours * 3600 and os.getppid() == parent:  # a killed parent must not leave us behind
        started = time.monotonic()
        progress = spent_s / (args.hours * 3600)
        length = row_length(progress, step)
        set_learning_rate(optimizers, args.peak_lr * learning_rate(progress))
        n_rows = max(1, args.tokens_per_step // length // args.processes)
        batch = make_batch(sampler, rng, length, n_rows, SHARE_OF_POSITIONS)
        with torch.autocast("cpu", torch.bfloat16, enabled=use_bfloat16):
            loss = model.loss(batch.ids, batch.positions, batch.weights)
        loss.backward()
        if args.processes > 1:
            average_gradients(model, args.processes)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, n_step_tokens = step + 1, length * n_rows * args.processes
        n_tokens += n_step_tokens
        clock = torch.tensor([spent_s + time.monotonic() - started], dtype=torch.float64)
        distributed.broadcast(clock, 0)  # every process must see the same time, and so the same schedule
        recent.append((n_step_tokens, float(clock) - spent_s))
        spent_s = float(clock)
        if rank != 0 or evaluation is None:
            continue
        if step % 50 == 0 or len(recent) == MEASURED_STEPS:
            tell(step, progress, n_tokens, loss, recent[-MEASURED_STEPS:], args.hours * 3600 - spent_s)
        if spent_s - last_save_s > SAVED_EVERY_S or spent_s >= args.hours * 3600:
            last_save_s = spent_s
            losses = evaluation.losses(model)
            told = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"step {step} held-out loss: {told}", flush=True)
            save(
                checkpoint,
                {
                    "shape": vars(model.shape),
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "step": step,
                    "n_tokens": n_tokens,
                    "spent_s": spent_s,
                    "held_out_loss": losses,
                },
            )
    distributed.destroy_process_group()


def tell(
    step: int, progress: float, n_tokens: int, loss: Tensor, recent: list[tuple[int, float]], left_s: float
) -> None:
    """Print the speed of the last steps, and how far it will lead."""
    rate = sum(n for n, _ in recent) / sum(seconds for _, seconds in recent)
    print(
        f"step {step} {progress:.1%} {n_tokens / 1e6:.2f} M tokens, {rate:.0f}/s, loss {loss.item():.3f}, "
        f"about {(n_tokens + rate * left_s) / 1e6:.1f} M tokens in the end",
        flush=True,
    )


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--shape", choices=SHAPES, default="small", help="of a new model")
    parser.add_argument("--hours", type=float, default=2.0, help="training time in all, resumed runs included")
    parser.add_argument("--from", dest="start_from", type=Path, metavar="GGUF", help="begin with an exported model")
    parser.add_argument("--name", default="checkpoint", help="of the checkpoint, which is saved every 4 minutes")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="one a core")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--tokens-per-step", type=int, default=4096)
    parser.add_argument(
        "--favour", type=lambda text: text.split(","), default=(), help="languages to draw twice as often: python,go"
    )
    parser.add_argument("--peak-lr", type=float, default=PEAK_LR, help="lower it to go on with a trained model")
    args = parser.parse_args()
    tokens = read_token_file(args.work_dir / "tokens.xz")
    tokenizer = Tokenizer.from_file(str(args.work_dir / "tokenizer.json"))
    shared = tokenizer, Corpus(tokens, tokenizer), Corpus(tokens, tokenizer, held_out=True)
    with tempfile.TemporaryDirectory() as folder:
        args.rendezvous = f"file://{folder}/rendezvous"
        # Forked, so that the processes share the memory that the corpus is in.
        multiprocessing.start_processes(train, args=(args, *shared), nprocs=args.processes, start_method="fork")


if __name__ == "__main__":
    main()
