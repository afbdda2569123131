"""Memory that one step frees is kept for the next: glibc would give it back to the system and ask for it anew.

A force call on a CPU makes and drops some hundred arrays of a few megabytes. glibc's malloc maps pieces that large from
the kernel one by one, and the kernel hands each over page by page, zeroed: up to a third of the time of a step of 80
atoms. Told to keep what is freed, the process holds on to its largest footprint, which it would need again anyway.
"""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEEP_AT_MOST = 1 << 30
_MAPPED_FROM = (1 << 30, 1 << 25)  # bytes; older glibc takes no more than 32 MB
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Tell malloc to keep up to 1 GB of freed memory in this process, unless the environment says how it shall behave.

    Returns:
        Whether anything was set: only with glibc, and not where ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``
        or malloc's ``GLIBC_TUNABLES`` are set, so that a user's own choice stands.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _SETTINGS):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    mapped_less = any(mallopt(_MMAP_THRESHOLD, size) for size in _MAPPED_FROM)
    return mapped_less and bool(mallopt(_TRIM_THRESHOLD, _KEEP_AT_MOST))
