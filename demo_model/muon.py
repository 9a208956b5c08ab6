"""Muon (Keller Jordan et al., 2024), in the precision that the machine is fast in.

`torch.optim.Muon` orthogonalizes in bfloat16, which a CPU without bfloat16 instructions emulates: 12 s a step for the
small model, against 0.2 s here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, n_iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, by a quintic Newton-Schulz iteration; also of a stack of matrices."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(n_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrix.shape[-2] > matrix.shape[-1] else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; scaled to AdamW's usual update size so that both share a learning rate.

    Of several processes with the same gradients each orthogonalizes the matrices of its `rank` alone, and `add_up` (an
    all-reduce) puts the updates together. Matrices of one shape are orthogonalized as a stack if `stacked`: faster on a
    GPU, where a small matrix leaves most of the chip idle.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
        *,
        dtype: torch.dtype = torch.float32,
        stacked: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        self.stacked = stacked
        self.rank, self.n_processes = 0, 1
        self.add_up: Callable[[Tensor], object] | None = None

    def share(self, rank: int, n_processes: int, add_up: Callable[[Tensor], object]) -> None:
        """Share the work with other processes."""
        self.rank, self.n_processes, self.add_up = rank, n_processes, add_up

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002  torch's signature
        """Update every matrix once."""
        for group in self.param_groups:
            params: list[Tensor] = group["params"]
            gradients = [self.with_momentum(p, group["momentum"]) for p in params]
            updates = self.stacks(gradients) if self.stacked else self.own(gradients)
            for p, update in zip(params, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)

    def with_momentum(self, p: Tensor, momentum: float) -> Tensor:
        """The gradient of `p` with Nesterov momentum."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        gradient = p.grad
        if gradient is None:
            msg = "a matrix without a gradient"
            raise ValueError(msg)
        average: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)

    def own(self, gradients: list[Tensor]) -> list[Tensor]:
        """Orthogonalize one by one, this process's part, and put the parts together."""
        flat = torch.zeros(sum(gradient.numel() for gradient in gradients))
        parts = flat.split([gradient.numel() for gradient in gradients])
        updates = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
        by_size = sorted(range(len(gradients)), key=lambda i: -gradients[i].numel())
        for i in by_size[self.rank :: self.n_processes]:
            updates[i].copy_(orthogonalize(gradients[i].to(self.dtype)))
        if self.add_up is not None:
            self.add_up(flat)
        return updates

    def stacks(self, gradients: list[Tensor]) -> list[Tensor]:
        """Orthogonalize all matrices of one shape together."""
        updates = list(gradients)
        for shape in {gradient.shape for gradient in gradients}:
            alike = [i for i, gradient in enumerate(gradients) if gradient.shape == shape]
            stack = orthogonalize(torch.stack([gradients[i] for i in alike]).to(self.dtype)).float()
            for i, update in zip(alike, stack, strict=True):
                updates[i] = update
        return updates
