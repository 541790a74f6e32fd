"""Keeps the server small: what pages let go returns to the system at once. Imported once, for its effect."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # names and values of glibc's <malloc.h>
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 128 * 1024  # bytes: glibc's own first threshold

_SWEEP: Final = 10  # seconds between two full collections

# Arrow's own pool keeps what it has read once for the next time, and a page that is opened rarely pays for it.
# It reads this when it is loaded, which the first page does not need.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

if sys.platform == "linux":
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        pass  # another C library than glibc, without these habits
    else:
        # glibc raises its threshold with every large block that is freed, until tables and pictures of many
        # megabytes stay in the heap; setting it stops that. Each thread has a heap, and Streamlit makes a
        # thread for each visit.
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)
        mallopt(_M_ARENA_MAX, 2)


def _sweep() -> None:
    """Collects what reference counts do not free.

    Streamlit would do so after every run of a script, also of the part of a page that is drawn every two seconds,
    which was most of what a watched run cost the server. ``runner.postScriptGC`` is off for that.
    """
    while True:
        time.sleep(_SWEEP)
        if any(gc.get_count()[1:]):  # not while nothing happens
            gc.collect()


threading.Thread(target=_sweep, name="memory", daemon=True).start()
