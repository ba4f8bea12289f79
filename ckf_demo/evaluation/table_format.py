"""Measured values as cells of tables."""

Table = tuple[str, list[str], list[list[str]]]
"""Title, headings, and rows of cells; without rows it is left out."""


def with_half_width(row: dict | None) -> str:
    """``0.781 ±0.023``: the value and half the width of its interval."""
    if row is None or row["low"] is None:
        return plain(row)
    return f"{row['value']:.3f} ±{(row['high'] - row['low']) / 2:.3f}"


def with_interval(row: dict | None) -> str:
    """``+0.0288 (+0.0223 to +0.0346)``, for differences."""
    if row is None or row["low"] is None:
        return plain(row)
    return f"{row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"


def plain(row: dict | None) -> str:
    """``0.781``, or a dash where nothing was measured."""
    return "–" if row is None or row["value"] is None else f"{row['value']:.3f}"
