"""Step 2: train the model, for a given time, resuming from the last checkpoint.

Each core is a process of its own with its share of every step's rows; gradients are averaged once a step. Threads
inside an operation would wait for each other hundreds of times a second, which on a busy machine halves the speed.

The schedule follows the hours spent, not the steps, so that a slower machine trains less but still ends with the
learning rate at zero: warm-up, constant, then linear decay over the last 30%. Matrices are trained with Muon, the
rest with AdamW. Rows grow from 512 to 1,024 tokens in the decay, and some to 2,048.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional as F

from demo_model import default_work_dir
from demo_model.model import Shape, StarCoder2
from demo_model.muon import Muon
from demo_model.samples import Sampler

TOKENS_PER_STEP = 4096
PEAK_LR = 3e-3
WARMUP = 0.01
DECAY_FROM = 0.65


def learning_rate(progress: float) -> float:
    """Share of the peak learning rate when `progress` (0 to 1) of the time is spent."""
    if progress < WARMUP:
        return 0.05 + 0.95 * progress / WARMUP
    if progress < DECAY_FROM:
        return 1.0
    return max(0.0, (1 - progress) / (1 - DECAY_FROM))


def row_length(progress: float, step: int) -> int:
    """Tokens a row at this point of the training."""
    if progress < 0.75:
        return 512
    return 2048 if step % 5 == 0 else 1024


def batch(sampler: Sampler, n_tokens: int, n_rows: int) -> tuple[Tensor, Tensor]:
    """Ids `(n_rows, n_tokens + 1)` and their loss weights."""
    rows = [sampler.row(n_tokens) for _ in range(n_rows)]
    ids = torch.tensor([[token for token, _ in row] for row in rows])
    return ids, torch.tensor([[weight for _, weight in row] for row in rows])


def weighted_loss(model: torch.nn.Module, ids: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy in nats a token, weighted."""
    logits = model(ids[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    flat = weights[:, 1:].flatten()
    return (losses * flat).sum() / flat.sum()


def make_optimizers(model: StarCoder2) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, norms and biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embedding" in name]
    muon = Muon(matrices, lr=PEAK_LR)
    adamw = torch.optim.AdamW(others, lr=PEAK_LR, betas=(0.9, 0.97), weight_decay=0.0, eps=1e-10)
    return [muon, adamw]


def save(path: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint whole or not at all."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def average_gradients(model: StarCoder2, n_processes: int) -> None:
    """Replace every gradient by its mean over the processes."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient) / n_processes)
        at += gradient.numel()


def train(rank: int, args: argparse.Namespace) -> None:
    """Train in one of the processes; the first one evaluates, saves and prints."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=args.rendezvous, rank=rank, world_size=args.processes)
    torch.manual_seed(0)
    checkpoint = args.work_dir / f"{args.name}.pt"
    tokenizer = Tokenizer.from_file(str(args.work_dir / "tokenizer.json"))
    held_out = Sampler(tokenizer, json.loads((args.work_dir / "held_out.json").read_text()), random.Random(1))
    evaluation = batch(held_out, 512, 16) if rank == 0 else None
    shape = Shape()
    model = StarCoder2(shape)
    optimizers = make_optimizers(model)
    step, n_tokens, spent_s = 0, 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, n_tokens, spent_s = state["step"], state["n_tokens"], state["spent_s"]
    if rank == 0:
        print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)
    seed = step * args.processes + rank
    sampler = Sampler(tokenizer, json.loads((args.work_dir / "train.json").read_text()), random.Random(seed))

    last_save_s = spent_s
    parent = os.getppid()
    while spent_s < args.hours * 3600 and os.getppid() == parent:  # a killed parent must not leave us behind
        started = time.monotonic()
        progress = spent_s / (args.hours * 3600)
        length = row_length(progress, step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LR * learning_rate(progress)
        n_rows = max(1, TOKENS_PER_STEP // length // args.processes)
        loss = weighted_loss(model, *batch(sampler, length, n_rows))
        loss.backward()
        average_gradients(model, args.processes)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, n_step_tokens = step + 1, length * n_rows * args.processes
        n_tokens += n_step_tokens
        clock = torch.tensor([spent_s + time.monotonic() - started])
        distributed.broadcast(clock, 0)  # every process must see the same time, and so the same schedule
        spent_s = float(clock)
        if rank != 0:
            continue
        if step % 50 == 0:
            rate = n_step_tokens / (time.monotonic() - started)
            print(
                f"step {step} {progress:.1%} {n_tokens / 1e6:.2f} M tokens, {rate:.0f}/s, loss {loss.item():.3f}",
                flush=True,
            )
        if evaluation is not None and (spent_s - last_save_s > 240 or spent_s >= args.hours * 3600):
            last_save_s = spent_s
            with torch.no_grad():
                held_out_loss = weighted_loss(model, *evaluation).item()
            print(f"step {step} held-out loss {held_out_loss:.3f}", flush=True)
            save(
                checkpoint,
                {
                    "shape": vars(shape),
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "step": step,
                    "n_tokens": n_tokens,
                    "spent_s": spent_s,
                    "held_out_loss": held_out_loss,
                },
            )
    distributed.destroy_process_group()


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--hours", type=float, default=2.0, help="training time in all, resumed runs included")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--name", default="checkpoint")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.rendezvous = f"file://{folder}/rendezvous"
        multiprocessing.spawn(train, args=(args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
