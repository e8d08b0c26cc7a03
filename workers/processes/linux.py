"""What Linux does for the processes of a worker dyno."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


def die_with_parent(sig: int = signal.SIGTERM) -> None:
    """Have the kernel send `sig` when the parent goes, also by kill -9 (Linux alone)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, sig)


def name_process(name: str) -> None:
    """Have `ps` and `top` tell a dyno's processes apart (Linux alone; 15 characters count)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
