"""A page with two charts of processes' memory and descriptors over time, and their growth.

The charts are a few lines of SVG. Of the libraries for that, matplotlib takes 60 MB with its dependencies, and pygal
loads a script from another host and needs three more packages on Python 3.11.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from html import escape

from attrs import frozen

from tests.fuzz.peer import Footprint

MIB = 1024 * 1024
WIDTH, HEIGHT, LEFT, TOP = 900, 300, 60, 30
COLOURS = ["#0284c7", "#dc2626", "#16a34a", "#9333ea", "#ea580c", "#0d9488", "#be185d", "#4b5563", "#ca8a04"]
MIN_POINTS = 3
Lines = dict[str, list[tuple[float, float]]]


@frozen
class Sample:
    """The resources of a server's processes `elapsed_s` after the start, after `n` edits, messages or files."""

    kind: str
    elapsed_s: float
    n: int
    footprints: tuple[Footprint, ...]


def page_of(samples: Iterable[Sample], title: str) -> str:
    """Return the page: memory and descriptors of each process, by kind of case."""
    memory: Lines = defaultdict(list)
    descriptors: Lines = defaultdict(list)
    for sample in samples:
        for each in sample.footprints:
            name, minutes = f"{sample.kind}: {each.name}", sample.elapsed_s / 60
            memory[name].append((minutes, each.unique_bytes / MIB))
            descriptors[name].append((minutes, each.n_descriptors))
    charts = [_chart("MiB of memory of its own, by minutes", memory), _chart("descriptors, by minutes", descriptors)]
    head = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{escape(title)}</title></head>'
    return "\n".join([head, f"<body><h1>{escape(title)}</h1>", *charts, "</body></html>"])


def _chart(title: str, lines: Lines) -> str:
    """Draw lines from zero to the largest value of each axis, and name them and the largest values."""
    points = [point for line in lines.values() for point in line] or [(1.0, 1.0)]
    max_x, max_y = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    height = TOP + HEIGHT + 20 * (len(lines) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" font-size="14">',
        f'<text x="{LEFT}" y="20">{escape(title)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#9ca3af"/>',
        f'<text x="{LEFT - 6}" y="{TOP + 12}" text-anchor="end">{max_y:.0f}</text>',
        f'<text x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 16}" text-anchor="end">{max_x:.1f}</text>',
    ]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawn = " ".join(f"{LEFT + x / max_x * WIDTH:.1f},{TOP + HEIGHT - y / max_y * HEIGHT:.1f}" for x, y in line)
        label = f"{name}, {line[0][1]:.1f} to {line[-1][1]:.1f}"
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT}" y="{TOP + HEIGHT + 20 * (number + 2)}" fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>"])


def course_mib(samples: Iterable[Sample], kind: str, n_steps: int = 4) -> list[tuple[int, dict[str, float]]]:
    """Return what each process held at equal steps of a run: the edits, messages or files sent so far, and MiB.

    A step is the first sample at or behind it; the last one is the end.
    """
    of_kind = [sample for sample in samples if sample.kind == kind]
    if not of_kind:
        return []
    wanted = [of_kind[-1].n * step / n_steps for step in range(1, n_steps + 1)]
    steps = [next(sample for sample in of_kind if sample.n >= n) for n in wanted]
    return [(each.n, {one.name: one.unique_bytes / MIB for one in each.footprints}) for each in steps]


def growth_mib(samples: Iterable[Sample], kind: str, per: int = 10_000) -> dict[str, float]:
    """Return the MiB that each process grew for `per` edits, messages or files, by a line through the second half.

    Caches fill in the first half. A process with too few samples in the second one is left out.
    """
    points: Lines = defaultdict(list)
    for sample in samples:
        if sample.kind == kind:
            for each in sample.footprints:
                points[each.name].append((sample.n, each.unique_bytes / MIB))
    halves = {name: found[len(found) // 2 :] for name, found in points.items()}
    return {name: _slope(half) * per for name, half in halves.items() if len(half) >= MIN_POINTS}


def _slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line with the least squared distances; 0 if all points have one x."""
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
