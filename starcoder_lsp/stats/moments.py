"""Number, sum and sum of squares of values: enough for a mean with its spread, and additive over several people."""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen

Z95 = 1.959963984540054
"""The half width of a 95% interval in standard errors, by the normal approximation."""


@frozen
class Moments:
    """The sum and the sum of squares of `n` values; yes and no count as 1 and 0."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Return the moments of some values."""
        known = [float(value) for value in values]
        return cls(len(known), math.fsum(known), math.fsum(value * value for value in known))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float | None:
        """The mean; `None` of no values."""
        return self.total / self.n if self.n else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample; `None` of fewer than two values."""
        if self.n <= 1:
            return None
        return math.sqrt(max(0.0, self.squares - self.total**2 / self.n) / (self.n - 1))

    @property
    def standard_error(self) -> float | None:
        """The standard error of the mean."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.n)

    def interval(self, *, is_share: bool) -> tuple[float, float] | None:
        """Return the 95% interval of the mean: Wilson's for shares, otherwise by the normal approximation."""
        mean, error = self.mean, self.standard_error
        if mean is None or (error is None and not is_share):
            return None
        if not is_share:
            return mean - Z95 * (error or 0.0), mean + Z95 * (error or 0.0)
        squared = Z95 * Z95
        centre = (mean + squared / (2 * self.n)) / (1 + squared / self.n)
        half = Z95 * math.sqrt(mean * (1 - mean) / self.n + squared / (4 * self.n**2)) / (1 + squared / self.n)
        return max(0.0, centre - half), min(1.0, centre + half)
