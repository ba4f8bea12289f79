"""Types of array-like arguments."""

from collections.abc import Sequence

import numpy as np

Indices = Sequence[int] | np.ndarray
"""Whole numbers: a list, or an integer array (n,)."""

Numbers = Sequence[float] | np.ndarray
"""Numbers: a list, or an array (n,)."""
