"""Memory on the CPU: keep what was freed, for the next step asks for the same again.

A model's step allocates and frees tens of large arrays. By default glibc hands each back to the kernel at once, and
every page of the next one is faulted in and zeroed anew: a fifth (80 atoms) to two fifths (480 atoms) of a MACE step.
"""

from __future__ import annotations

import ctypes
import sys

#: parameters of mallopt(3), and the largest threshold glibc takes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 * 2**20
_KEEP_AT_MOST = 2**30


def keep_freed_memory() -> bool:
    """Tell glibc to keep up to 1 GB of freed memory in this process; whether it understood (elsewhere: False)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, _KEEP_AT_MOST))
