"""Format figures for the terminal and the page."""

from __future__ import annotations

from starcoder_lsp.stats.questions import Figure


def value_in_words(figure: Figure, value: float | None = None, *, signed: bool = False) -> str:
    """Return a figure's value, or another value in its unit; a dash if there is none."""
    value = figure.value if value is None else value
    if value is None:
        return "-"
    sign = "+" if signed else ""
    if figure.is_share:
        return f"{value:{sign}.1%}"
    text = f"{value:{sign},.1f}" if figure.unit else f"{value:{sign}.2f}"
    return f"{text} {figure.unit}".strip() if figure.unit == "s" else text


def spread_in_words(figure: Figure) -> str:
    """Return the 95% interval of a share; of other figures the standard deviation, too."""
    parts = []
    if figure.interval is not None:
        low, high = (value_in_words(figure, one) for one in figure.interval)
        parts.append(f"{low} to {high}")
    if figure.deviation is not None and (figure.interval is None or not figure.is_share):
        parts.append(f"± {value_in_words(figure, figure.deviation)}")
    return ", ".join(parts)
