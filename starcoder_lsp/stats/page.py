"""Write the report as a self-contained page of HTML5 and SVG, without scripts."""

from __future__ import annotations

from html import escape

from starcoder_lsp.stats.questions import Figure
from starcoder_lsp.stats.report import Answered, Report
from starcoder_lsp.stats.words import spread_in_words, value_in_words

WIDTH, HEIGHT, MARGIN = 560, 140, 24
BAR_HEIGHT, LABEL_WIDTH = 22, 200
STYLE = """
:root { color-scheme: light dark; --line: #0284c7; --fill: #0ea5e940; --dim: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --line: #38bdf8; --dim: #9ca3af; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid var(--dim); margin-top: 2rem; }
.answer { font-size: 2rem; margin: .2rem 0; }
.dim, figcaption { color: var(--dim); font-size: .9rem; }
table { border-spacing: 0; }
td, th { padding: .1rem 1rem .1rem 0; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
polyline { fill: none; stroke: var(--line); stroke-width: 2; }
circle { fill: var(--line); }
rect { fill: var(--fill); stroke: var(--line); }
line { stroke: var(--line); stroke-width: 2; }
""".strip()


def page_of(report: Report) -> str:
    """Return the page."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>starcoder-lsp: does it help?</title>",
        f"<style>\n{STYLE}\n</style>",
        "</head>",
        "<body>",
        "<h1>Does it help?</h1>",
        '<p class="dim">From the record on this machine. Nothing was sent.</p>',
        *(f"<p><strong>{escape(each)}</strong></p>" for each in report.advice),
    ]
    for number, answered in enumerate(report.answered):
        parts += _section(answered, number, report)
    if report.notes:
        parts += ["<section><h2>What is not known</h2><ul>", *(f"<li>{escape(each)}</li>" for each in report.notes)]
        parts.append("</ul></section>")
    return "\n".join([*parts, "</body>", "</html>"])


def _section(answered: Answered, number: int, report: Report) -> list[str]:
    question, first = answered.question, answered.figures[0]
    rows = (
        f"<tr><td>{escape(figure.name)}</td>"
        f'<td class="number">{escape(value_in_words(figure))}</td>'
        f'<td class="number">{figure.n:,}</td><td>{escape(figure.of)}</td>'
        f"<td>{escape(spread_in_words(figure))}</td></tr>"
        for figure in answered.figures
    )
    plots = [_trend(answered)]
    plots += [
        _bars(f"by {dimension}", [(value, figures[number]) for value, figures in values.items()])
        for dimension, values in report.splits.items()
        if dimension != "week"
    ]
    return [
        f'<section id="{question.key}">',
        f"<h2>{escape(question.title)}</h2>",
        f'<p class="answer">{escape(value_in_words(first))}</p>',
        "<table><tr><th></th><th>figure</th><th>n</th><th>of</th><th>95% interval, deviation</th></tr>",
        *rows,
        "</table>",
        f'<p class="dim">Published: {escape(question.published)}. {escape(question.caution)}</p>',
        *filter(None, plots),
        "</section>",
    ]


def _trend(answered: Answered) -> str:
    """Return the first figure by week as a line; weeks without a value are gaps."""
    values = [(week, value) for week, value in answered.trend if value is not None]
    if not values:
        return ""
    low, high = min(0.0, *(value for _, value in values)), max(value for _, value in values)
    height = (HEIGHT - 2 * MARGIN) / (high - low) if high > low else 0.0
    step = (WIDTH - 2 * MARGIN) / max(1, len(values) - 1)
    points = [
        (MARGIN + i * step, HEIGHT - MARGIN - (value - low) * height, week, value)
        for i, (week, value) in enumerate(values)
    ]
    figure = answered.figures[0]
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(week)}: {escape(value_in_words(figure, value))}'
        "</title></circle>"
        for x, y, week, value in points
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    ends = f'<text x="{MARGIN}" y="{HEIGHT - 6}">{escape(values[0][0])}</text>'
    if len(values) > 1:
        last = escape(values[-1][0])
        ends += f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 6}" text-anchor="end">{last}</text>'
    top = f'<text x="{MARGIN}" y="14">{escape(value_in_words(figure, high))}</text>'
    drawn = f'<polyline points="{line}"/>{dots}{ends}{top}'
    return _figure("by week", WIDTH, HEIGHT, drawn)


def _bars(caption: str, values: list[tuple[str, Figure]]) -> str:
    """Return a bar for each value of a split, with its 95% interval as a line."""
    known = [(name, figure, figure.value) for name, figure in values if figure.value is not None]
    if not known:
        return ""
    ends = [max(value, *(figure.interval or (value,)), 0.0) for _, figure, value in known]
    scale = (WIDTH - LABEL_WIDTH - 110) / (max(ends) or 1.0)
    drawn = ""
    for i, (name, figure, value) in enumerate(known):
        y = i * BAR_HEIGHT
        width = max(0.0, value) * scale
        label = f'<text x="{LABEL_WIDTH - 8}" y="{y + 15}" text-anchor="end">{escape(name[:28])}</text>'
        bar = f'<rect x="{LABEL_WIDTH}" y="{y + 4}" width="{width:.1f}" height="{BAR_HEIGHT - 8}"/>'
        right = width
        if figure.interval is not None:
            low, high = (LABEL_WIDTH + max(0.0, one) * scale for one in figure.interval)
            middle = y + BAR_HEIGHT / 2
            bar += f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
            right = high - LABEL_WIDTH
        text = escape(f"{value_in_words(figure)}, n {figure.n:,}")
        drawn += f'{label}{bar}<text x="{LABEL_WIDTH + right + 6:.1f}" y="{y + 15}">{text}</text>'
    return _figure(caption, WIDTH, len(known) * BAR_HEIGHT, drawn)


def _figure(caption: str, width: int, height: int, drawn: str) -> str:
    svg = f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(caption)}">{drawn}</svg>'
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"
