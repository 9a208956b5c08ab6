"""Percentiles, for the counters of a session and for the reports of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil


def percentile(values: Iterable[float], share: float) -> float:
    """Return the nearest-rank percentile of at least one value."""
    ranked = sorted(values)
    return ranked[max(0, ceil(share * len(ranked)) - 1)]
