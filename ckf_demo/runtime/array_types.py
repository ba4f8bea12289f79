"""Names of types that more than one folder uses."""

from collections.abc import Sequence

import numpy as np

Indices = Sequence[int] | np.ndarray
"""Whole numbers, one behind another: a list, or an integer array (n,)."""

Numbers = Sequence[float] | np.ndarray
"""Numbers, one behind another: a list, or an array (n,)."""
