"""Measure the decoding speed as a share of memory bandwidth: `python bench/bandwidth.py [SIZE]`.

The bandwidth is that of `models list`, and the share is EFFICIENCY of `models/advice.py`. A model of StarCoder2's shape
with random weights is written. Bandwidth and decoding are measured in turns, with one thread and in processor time, so
that other work on the machine counts less. Each round prints both in GB/s and their ratio.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import platformdirs

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.llama import LlamaContext, LoadOptions
from starcoder_lsp.engine.prompt_model import read_prompt_model
from starcoder_lsp.engine.synthetic import synthetic_model
from starcoder_lsp.engine.synthetic_header import SHAPES
from starcoder_lsp.models.bandwidth import measure

N_ROUNDS, N_TOKENS, N_CONTEXT = 5, 6, 512


def main() -> None:
    """Print a line for each round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", choices=SHAPES, default="3b")
    size = parser.parse_args().size
    folder: Path = platformdirs.user_cache_path("starcoder-lsp", appauthor=False) / "synthetic"
    path = synthetic_model(size, SHAPES[size], DEMONSTRATOR, folder, lambda _share: None)
    model = read_prompt_model(path, N_CONTEXT)
    context = LlamaContext(LoadOptions(path, N_CONTEXT, model.n_bytes, 0, 1), model.tokenizer.pieces)
    context.decode_bare(0, 5, 0, 1)
    ratios = []
    for number in range(N_ROUNDS):
        bandwidth = measure(1)
        started = time.thread_time()
        context.decode_bare(0, 5, 1 + number * N_TOKENS, N_TOKENS)
        decoded = N_TOKENS * model.n_bytes / (time.thread_time() - started)
        ratios.append(decoded / bandwidth)
        print(f"bandwidth {bandwidth / 1e9:.2f} GB/s, decode {decoded / 1e9:.2f} GB/s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {median(ratios):.2f}")


if __name__ == "__main__":
    main()
