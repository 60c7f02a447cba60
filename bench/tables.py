"""Numbers and tables as a reader sees them: Markdown for the terminal, reStructuredText for the site."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    alignment = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, alignment, *body])


def aligned_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns also line up in a terminal."""
    rows = [list(head), *(list(cells) for cells in body)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [
        [cells[0].ljust(widths[0])]
        + [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        for cells in rows
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [padded[0], rule, *padded[1:]])


def rst_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a ``list-table`` whose first row is a header."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [head, *body]:
        lines += [f"   {'* ' if i == 0 else '  '}- {cell}".rstrip() for i, cell in enumerate(cells)]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """Return how many times; nothing for None."""
    return "" if value is None else f"{number(value)}×"


def duration(ns: float) -> str:
    """Return nanoseconds in the unit that suits them."""
    for unit, length in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= length:
            return f"{number(ns / length)} {unit}"
    return f"{number(ns)} ns"
