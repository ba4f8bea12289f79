"""Child processes, which end when this process is killed."""


def end_with(parent: int) -> None:
    """Let the kernel end this process as soon as the process ``parent``, which started it, ends.

    A killed parent cannot end its children itself. This works on Linux; elsewhere nothing is done.
    Other interpreters run the source of this function, so it uses nothing of this module.
    """
    import ctypes
    import os
    import signal
    import sys

    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            # the parent ended before the kernel was told
            os._exit(1)
