"""Measure the package's weights of the gate on other packages: `python bench/gate_unseen.py FOLDER`.

The folder has a folder for each package; none of them is in another table. Nothing is fitted but for the comparison of
features: there each package is judged by weights that are fitted to the others, with all features and without each.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
from pathlib import Path

import numpy as np
from gate import LOST, UNTRAINED, Row, auc, fit, hidden_at, matrix, probabilities, rows_of

from starcoder_lsp.stats.gate import shipped
from starcoder_lsp.stats.gate_features import FEATURES, MEASURED


def by_the_others(
    rows: list[Row], features: np.ndarray, right: np.ndarray, without: tuple[str, ...] = ()
) -> np.ndarray:
    """Return the probability of each row by weights that are fitted to the other packages."""
    packages = np.array([package for package, *_ in rows])
    p = np.zeros(len(rows))
    for package in set(packages):
        own = packages == package
        p[own] = probabilities(fit(features[~own], right[~own], without), features[own])
    return p


def figures(name: str, p: np.ndarray, right: np.ndarray) -> str:
    """Return a row of the table."""
    shares = (f"{hidden_at(p, right, lost):.1%}" for lost in LOST)
    return f"| {name} | {auc(p, right):.3f} | {' | '.join(shares)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with a folder for each package")
    parser.add_argument("--holes", type=int, default=350, help="of each package")
    parser.add_argument("--rows", type=Path, nargs="*", default=(), help="what came of the holes, by an earlier run")
    parser.add_argument("--keep", type=Path, help="a file to keep what came of the holes in")
    args = parser.parse_args()
    rows: list[Row] = []
    for path in args.rows:
        rows += pickle.loads(path.read_bytes())  # noqa: S301  written by this program
    if not args.rows:
        rows = asyncio.run(rows_of(args.folder, args.holes, 2))
    if args.keep:
        args.keep.write_bytes(pickle.dumps(rows))
    features, right = matrix(rows)
    names = sorted({package for package, *_ in rows})
    gate, p = shipped(), probabilities(shipped(), features)
    hidden = p < gate.threshold
    print(f"{len(rows):,} suggestions, {int(right.sum()):,} right: {', '.join(names)}\n")
    print(
        f"calm 1 hides {hidden[right == 0].mean():.1%} of the wrong ones, {hidden[right > 0].mean():.1%} of the right"
    )
    for package in names:
        own = np.array([each == package for each, *_ in rows])
        wrong, good = own & (right == 0), own & (right > 0)
        print(f"  {package}: {hidden[wrong].mean():.1%} of {wrong.sum()}, {hidden[good].mean():.1%} of {good.sum()}")
    print("\n| features | AUC | wrong hidden, 2% of the right lost | 5% lost |\n|---|---|---|---|")
    print(figures("as in the package", p, right))
    print(figures("all, fitted to the other packages", by_the_others(rows, features, right), right))
    groups = {name: (name,) for name in MEASURED if name not in UNTRAINED}
    groups["how it ended"] = tuple(name for name in FEATURES if name.startswith("ends by"))
    groups["syntax node"] = tuple(name for name in FEATURES if name.startswith("node"))
    for name, columns in groups.items():
        print(figures(f"without {name}", by_the_others(rows, features, right, columns), right))
    print("\n| probability | suggestions | mean said | right |\n|---|---|---|---|")
    for low in np.arange(0, 1, 0.1):
        here = (p >= low) & (p < low + 0.1)
        if here.any():
            said, found = p[here].mean(), right[here].mean()
            print(f"| {low:.1f} to {low + 0.1:.1f} | {here.sum():,} | {said:.1%} | {found:.1%} |")


if __name__ == "__main__":
    main()
