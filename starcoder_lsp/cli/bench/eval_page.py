"""The page of `starcoder-lsp eval --html`: a plot of exact matches against time, a point for each way, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from attrs import frozen

Report = dict[str, Any]
WIDTH, HEIGHT, MARGIN = 720, 420, 64
N_TICKS: Final = 5
COLUMNS: Final = {
    "exact": ("exact match", ".1%"),
    "similarity": ("edit similarity", ".1%"),
    "withheld": ("withheld", ".1%"),
    "addsNoError": ("no new error", ".1%"),
    "latencyMsP50": ("ms, p50", ",.0f"),
    "latencyMsP95": ("ms, p95", ",.0f"),
}
STYLE: Final = """
:root { color-scheme: light dark; --line: #9ca3af; --point: #0369a1; }
@media (prefers-color-scheme: dark) { :root { --point: #38bdf8; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { font-size: 1.2rem; overflow-wrap: anywhere; }
th, td { padding: 0 .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: CanvasText; }
svg line { stroke: var(--line); stroke-width: 1; }
svg .error { stroke: var(--point); stroke-width: 2; }
svg circle { fill: var(--point); }
""".strip()


@frozen
class Point:
    """A way in the plot: the median time in milliseconds, the share of exact matches and its standard error."""

    name: str
    elapsed_ms: float
    exact: float
    standard_error: float


def page_of(report: Report) -> str:
    """Return a self-contained HTML5 page."""
    rows = [(str(way["name"]), way["kinds"]["all"]) for way in report["ways"]]
    machine = report["machine"]
    title = f"Suggestions in {', '.join(report['paths'])}"
    where = f"{rows[0][1]['holes']} hidden parts, {machine['cpu']}, {machine['cores']} cores"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            f"<p>{escape(where)}. Higher is better, and so is further left. Bars are a standard error up and down.</p>",
            plot_of(points_of(report)),
            "<table><thead><tr><th>model and settings</th>",
            *(f"<th>{escape(name)}</th>" for name, _ in COLUMNS.values()),
            "</tr></thead><tbody>",
            *(_row(name, figures) for name, figures in rows),
            "</tbody></table></body></html>",
        ]
    )


def points_of(report: Report) -> list[Point]:
    """Return the points: of a share p of n holes the standard error is that of a binomial share."""
    points = []
    for way in report["ways"]:
        figures = way["kinds"]["all"]
        exact, n_holes = figures["exact"], figures["holes"]
        error = (exact * (1 - exact) / n_holes) ** 0.5
        points.append(Point(str(way["name"]), figures["latencyMsP50"], exact, error))
    return points


def plot_of(points: list[Point]) -> str:
    """Return the plot as SVG. Time begins at 0, and so does the share."""
    max_ms = 1.25 * max(1.0, *(each.elapsed_ms for each in points))
    max_share = min(1.0, 1.25 * max(0.04, *(each.exact + each.standard_error for each in points)))

    def x(elapsed_ms: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * elapsed_ms / max_ms, 1)

    def y(share: float) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * min(share, max_share) / max_share, 1)

    def parts() -> Iterator[str]:
        for number in range(N_TICKS + 1):
            ms, share = max_ms * number / N_TICKS, max_share * number / N_TICKS
            yield f'<line x1="{x(0)}" x2="{WIDTH - MARGIN}" y1="{y(share)}" y2="{y(share)}"/>'
            yield f'<text x="{MARGIN - 8}" y="{y(share) + 4}" text-anchor="end">{share:.0%}</text>'
            yield f'<text x="{x(ms)}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{ms:,.0f}</text>'
        yield f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">median time to a suggestion, ms</text>'
        yield f'<text x="{MARGIN}" y="{MARGIN - 24}">exact matches</text>'
        for each in points:
            at, low, high = (
                x(each.elapsed_ms),
                y(max(0, each.exact - each.standard_error)),
                y(each.exact + each.standard_error),
            )
            yield f'<line class="error" x1="{at}" x2="{at}" y1="{low}" y2="{high}"/>'
            yield f'<circle cx="{at}" cy="{y(each.exact)}" r="5"><title>{escape(_point_text(each))}</title></circle>'
            anchor, offset = ("end", -10) if at > WIDTH * 0.7 else ("start", 10)
            yield f'<text x="{at + offset}" y="{y(each.exact) - 8}" text-anchor="{anchor}">{escape(each.name)}</text>'

    label = "Exact matches against the median time of each model"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts())}</svg>'


def _point_text(point: Point) -> str:
    return f"{point.name}: {point.exact:.1%} ± {point.standard_error:.1%}, {point.elapsed_ms:,.0f} ms"


def _row(name: str, figures: Report) -> str:
    cells = (format(figures[key], how) if figures.get(key) is not None else "" for key, (_, how) in COLUMNS.items())
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{each}</td>' for each in cells)}</tr>"
