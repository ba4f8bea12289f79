"""Numbers and ids as tables hold them: text, decimal commas, whole numbers that became floats."""

from __future__ import annotations

import pandas as pd

DECIMAL_COMMA = r"[-+]?\d+,\d+"


def as_numbers(column: pd.Series) -> pd.Series:
    """A column as float64, missing where a cell holds no finite number; commas may be decimal."""
    if pd.api.types.is_bool_dtype(column):
        return column.astype("float64")
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.astype("float64")
    else:
        text = column.astype(str).str.strip()
        if has_decimal_commas(text):
            text = text.str.replace(",", ".", regex=False)
        numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    return numbers.where(numbers.abs() < 2**63)


def has_decimal_commas(text: pd.Series) -> bool:
    """Whether any cell is a number with a decimal comma, such as 4,5."""
    return bool(text.astype(str).str.fullmatch(DECIMAL_COMMA).any())


def as_ids(column: pd.Series) -> pd.Series:
    """A column as text without spaces around; empty where there is none, and 7.0 becomes 7."""
    if pd.api.types.is_float_dtype(column):
        whole = column.dropna()
        if (whole % 1 == 0).all() and (whole.abs() < 2**63).all():
            column = column.astype("Int64")
    text = column.astype("object").where(column.notna(), "").astype(str)
    return text.str.replace(r"\s+", " ", regex=True).str.strip()
