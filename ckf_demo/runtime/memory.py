"""Bounds the memory that libraries keep, for servers that run for weeks."""

import ctypes
import gc
import os
import sys
import threading
import time
from functools import cache

PRIMITIVES = 256
"""Number of compiled matrix products that oneDNN keeps, some 0.4 MB each.

Every length of a prompt needs another one; the default is 1,024."""

ARENAS = 2
"""Number of heaps of glibc's allocator.

By default threads have heaps of their own, up to 8 for each core, and do not share free memory."""

TRIM = 10.0
"""Seconds between two garbage collections that return memory to the system.

Python itself would collect far less often."""


@cache
def keep_flat() -> None:
    """Bound the memory of this process; call it before libraries compute for the first time.

    Heaps are bounded on Linux with glibc; elsewhere the allocator is left alone.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    trims = hasattr(libc, "malloc_trim")
    if trims:
        arena_max = -8  # M_ARENA_MAX of malloc.h
        libc.mallopt(arena_max, ARENAS)

    def trim() -> None:
        while True:
            time.sleep(TRIM)
            gc.collect()
            if trims:
                libc.malloc_trim(0)

    threading.Thread(target=trim, name="memory", daemon=True).start()


def settle() -> None:
    """Exclude everything loaded so far from later garbage collections."""
    gc.collect()
    gc.freeze()
