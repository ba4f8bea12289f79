"""Memory of a server that runs for weeks: what libraries keep of every question is bounded."""

import ctypes
import gc
import os
import sys
import threading
import time
from functools import cache

PRIMITIVES = 256
"""Matrix products that oneDNN keeps compiled, some 0.4 MB each. Every length of a prompt is
another, and its own limit is 1,024."""

ARENAS = 2
"""Heaps of glibc's allocator. Each thread would take one of its own, up to 8 for each core, and
what is free in one is of no use to another."""

TRIM = 10.0
"""Seconds between two collections of what nobody holds any more, which Python alone would do after
many times as many answers, and returns of it to the system."""


@cache
def keep_flat() -> None:
    """Bound what this process holds; before libraries compute for the first time.

    Heaps are those of glibc, on Linux; elsewhere the allocator is left alone.
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
    """What has been loaded by now stays: no collection looks through it again."""
    gc.collect()
    gc.freeze()
