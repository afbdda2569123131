"""Loops over atoms and pairs compiled for the processor by numba, at their first call.

The machine code is kept beside the source or where numba keeps such things, if either can be written.
numba is optional: whoever uses these loops has a slower way without them.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any


@functools.cache
def available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


@functools.cache
def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` as machine code. Sums may be reordered; what is not a number stays so. Other threads may run."""
    import numba

    settings: dict[str, Any] = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "nogil": True}
    try:
        return numba.njit(cache=True, error_model="numpy", **settings)(function)
    except RuntimeError:  # no folder to keep the machine code in
        return numba.njit(error_model="numpy", **settings)(function)
