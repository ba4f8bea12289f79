"""Processes that this one starts: none of them goes on when this one is killed."""


def end_with(parent: int) -> None:
    """Let the kernel end this process as soon as the process ``parent``, which started it, ends.

    A parent that is killed cannot end its children itself. On Linux; elsewhere nothing is done. It
    is run by its source in interpreters of their own, so it knows nothing of this module.
    """
    import ctypes
    import os
    import signal
    import sys

    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            # it ended before the kernel was told
            os._exit(1)
