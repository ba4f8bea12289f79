"""Times as people store them: seconds since 1970 or smaller units of it, days, years and dates.

A column is read as a whole, since one number says too little: 1588687728923 are milliseconds if
its neighbours are as large.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ckf_demo.data.sources.numbers import as_numbers

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
LARGEST = 1e11
"""Seconds since 1970 of the year 5138; a thousand times as large a number is in the next unit."""
EARLIEST, LATEST = -5_364_662_400, 7_258_118_400
"""The years 1800 and 2200 in seconds: other moments are errors."""
YEARS = (1800, 2200)


def unit_of(times: np.ndarray) -> int:
    """The place in `UNITS` of whole or broken numbers (n,), by their median."""
    if not len(times):
        return 0
    typical = float(np.median(np.abs(times)))
    return int(np.searchsorted([LARGEST, LARGEST * 1e3, LARGEST * 1e6], typical, side="right"))


def seconds_of(times: np.ndarray) -> tuple[np.ndarray, str]:
    """Whole numbers (n,) in one unit as seconds int64 (n,), and a sentence where that changes them.

    The sentence names the first moment, so that the reader can tell whether the unit is right.
    """
    unit = unit_of(times)
    if not unit:
        return times, ""
    seconds = times // 1000**unit
    first = pd.Timestamp(int(seconds[0]), unit="s").strftime("%Y-%m-%d %H:%M:%S UTC")
    return seconds, f"Times are in {UNITS[unit]}; they became seconds (first row: {first})."


def read_moments(column: pd.Series) -> tuple[pd.Series, str]:
    """A column as seconds since 1970, float64, missing where a cell holds no time.

    Returns
    -------
    The seconds, and what the column was understood as: "seconds", "dates" and so on.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return _since_1970(column), "dates"
    numbers = as_numbers(column)
    filled = column.notna() & (column.astype(str).str.strip() != "")
    if numbers.notna().sum() * 2 >= filled.sum() and numbers.notna().any():
        return _numbers(numbers)
    return _dates(column.astype(str).str.strip().where(filled))


def _numbers(numbers: pd.Series) -> tuple[pd.Series, str]:
    given = numbers.dropna().to_numpy()
    whole = bool((given % 1 == 0).all())
    if whole and ((given >= YEARS[0]) & (given <= YEARS[1])).all():
        dates = pd.to_datetime(numbers.astype("Int64").astype(str), format="%Y", errors="coerce")
        return _since_1970(dates), "years"
    if whole and ((given >= YEARS[0] * 1e4) & (given < YEARS[1] * 1e4)).all():
        text = numbers.astype("Int64").astype(str)
        dates = pd.to_datetime(text, format="%Y%m%d", errors="coerce")
        if dates.notna().sum() == len(given):
            return _since_1970(dates), "days such as 20200131"
    unit = unit_of(given)
    return _plausible(np.floor(numbers / 1000**unit)), UNITS[unit]


def _dates(text: pd.Series) -> tuple[pd.Series, str]:
    """Dates in any usual form; day or month first as the column as a whole says."""
    dates = pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601")
    if dates.notna().sum() * 2 >= text.notna().sum():
        return _since_1970(dates), "dates"
    parts = text.str.extract(r"^(\d{1,2})[./-](\d{1,2})[./-]\d{2,4}")
    day_first = bool((pd.to_numeric(parts[0]) > 12).any()) or bool(
        text.str.match(r"\d{1,2}\.\d{1,2}\.\d").any()
    )
    dates = pd.to_datetime(text, utc=True, errors="coerce", format="mixed", dayfirst=day_first)
    if not parts[0].notna().any():
        return _since_1970(dates), "dates"
    certain = day_first or bool((pd.to_numeric(parts[1]) > 12).any())
    order = "day first" if day_first else "month first"
    return _since_1970(dates), f"dates, {order}{'' if certain else ' (either would fit)'}"


def _since_1970(dates: pd.Series) -> pd.Series:
    if getattr(dates.dt, "tz", None) is None:
        dates = dates.dt.tz_localize("UTC")
    seconds = (dates - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return _plausible(seconds.astype("float64"))


def _plausible(seconds: pd.Series) -> pd.Series:
    return seconds.where((seconds >= EARLIEST) & (seconds < LATEST))
