"""What training on a CPU and on a GPU have in common: schedule, optimizers, batches, the held-out loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from demo_model.model import StarCoder2
from demo_model.muon import Muon
from demo_model.samples import Sampler, choose_positions

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


@dataclass(frozen=True)
class Batch:
    """Rows of token ids with the positions at which the loss is computed, and the weights there."""

    ids: Tensor
    positions: Tensor
    weights: Tensor


def make_batch(sampler: Sampler, rng: np.random.Generator, n_tokens: int, n_rows: int, share: float) -> Batch:
    """Draw `n_rows` rows; the loss is computed at a `share` of each one's tokens.

    That is at all middles and their ends, and at some of the others.
    """
    ids, positions, weights = [], [], []
    for _ in range(n_rows):
        row, row_weights = sampler.row(n_tokens)
        chosen, chosen_weights = choose_positions(row_weights, int(n_tokens * share), rng)
        ids.append(row)
        positions.append(chosen)
        weights.append(chosen_weights)
    return Batch(*(torch.from_numpy(np.stack(part)) for part in (ids, positions, weights)))


def make_optimizers(model: StarCoder2, *, on_gpu: bool = False) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, norms and biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embedding" in name]
    muon = Muon(matrices, lr=PEAK_LR, dtype=torch.bfloat16 if on_gpu else torch.float32, stacked=on_gpu)
    adamw = torch.optim.AdamW(others, lr=PEAK_LR, betas=(0.9, 0.97), weight_decay=0.0, eps=1e-10, fused=on_gpu)
    return [muon, adamw]


def set_learning_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Set the learning rate of everything."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


class HeldOut:
    """A fixed set of held-out rows."""

    def __init__(self, sampler: Sampler, n_tokens: int, n_rows: int) -> None:
        rows = [sampler.row(n_tokens) for _ in range(n_rows)]
        self.ids = torch.from_numpy(np.stack([ids for ids, _ in rows]))
        self.weights = torch.from_numpy(np.stack([weights for _, weights in rows]))

    @torch.no_grad()
    def losses(self, model: StarCoder2, rows_at_once: int = 4) -> dict[str, float]:
        """Mean cross-entropy in nats a token: of the holes' `middle`s with their ends, and of the `rest`."""
        sums = {"middle": 0.0, "rest": 0.0}
        counts = {"middle": 0, "rest": 0}
        device = model.embedding.weight.device
        for at in range(0, len(self.ids), rows_at_once):
            ids = self.ids[at : at + rows_at_once].to(device)
            weights = self.weights[at : at + rows_at_once, 1:].flatten()
            losses = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
            losses = losses.cpu()
            for name, chosen in (("middle", weights > 1), ("rest", (weights > 0) & (weights <= 1))):
                sums[name] += float(losses[chosen].sum())
                counts[name] += int(chosen.sum())
        return {name: total / max(1, counts[name]) for name, total in sums.items()}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
