"""Smooth functions of a length as tables of short polynomials, which cost the same whatever it took to make them.

The range is cut into equal intervals, and in each a polynomial goes through the function's values at Chebyshev points.
Only values are asked for, inside the intervals: no slopes, and nothing at 0, where a radial basis may not be defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: polynomials of the tables: their degree (four coefficients are read at once), and the error at which the
#: intervals are narrow enough, as a share of the layer's largest strength: below what float32 rounds, and as small as
#: the rounding of float64 lets a table be
_PIECES = {np.float32: (7, 1e-9), np.float64: (11, 1e-14)}
_INTERVALS = (32, 48, 64, 96, 128, 192, 256, 384, 512)


def tables_of(functions: list[Callable[[np.ndarray], np.ndarray]], end: float, dtype: Any) -> list[np.ndarray] | None:
    """For each function of lengths its table (K, D+1, F); None if no number of intervals is enough for all.

    Args:
        functions: from (n,) lengths to (n, F) values, smooth between 0 and ``end``; never asked at 0.
        dtype: the precision in which the tables shall be read.
    """
    degree, tolerance = _PIECES[dtype]
    between = np.cos(np.arange(1, degree + 1) * np.pi / (degree + 1))  # where an interpolation errs most
    raised = between[:, None] ** np.arange(degree + 1)
    for intervals in _INTERVALS:
        tables = []
        for function in functions:
            tables.append(_table(function, end, intervals, degree))
            true = _along(function, end, intervals, between)
            error = np.abs(np.einsum("bp,ipf->ibf", raised, tables[-1]) - true).max()
            if not error <= tolerance * np.abs(true).max():
                break
        else:
            return tables
    return None


def _table(function: Callable[[np.ndarray], np.ndarray], end: float, intervals: int, degree: int) -> np.ndarray:
    """(K, D+1, F): in each of K equal intervals of 0…end the interpolation of a smooth function at Chebyshev points.

    Coefficients are of powers of t, −1…1 along the interval.
    """
    angles = (np.arange(degree + 1) + 0.5) * np.pi / (degree + 1)
    chebyshev = 2 / (degree + 1) * np.cos(np.outer(np.arange(degree + 1), angles))
    chebyshev[0] /= 2
    to_powers = np.zeros((degree + 1, degree + 1))
    for order, unit in enumerate(np.eye(degree + 1)):
        to_powers[order, : order + 1] = np.polynomial.chebyshev.cheb2poly(unit[: order + 1])
    values = _along(function, end, intervals, np.cos(angles))
    return np.einsum("kp,ikf->ipf", to_powers, np.einsum("kn,inf->ikf", chebyshev, values))


def _along(function: Callable[[np.ndarray], np.ndarray], end: float, intervals: int, t: np.ndarray) -> np.ndarray:
    """(K, n, F) values at n places t, −1…1, of each interval."""
    lengths = (np.arange(intervals)[:, None] + (1 + t) / 2) * end / intervals
    return function(lengths.ravel()).reshape(intervals, len(t), -1)
