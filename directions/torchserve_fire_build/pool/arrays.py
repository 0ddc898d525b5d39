"""The arrays that scikit-learn takes and returns."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]
"""One value for each sample, (n,)."""

Matrix: TypeAlias = npt.NDArray[np.float64]
"""One row of features for each sample, (n, D)."""
