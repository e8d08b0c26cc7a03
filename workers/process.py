"""What a process of a worker dyno is told by signals, and how it dies with its parent."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
# What HerokuWorker tells its horse with; macOS has no real-time signals.
HORSE_STOP: int = getattr(signal, "SIGRTMIN", signal.SIGUSR1)


def die_with_parent(sig: int = signal.SIGTERM) -> None:
    """Have the kernel send `sig` when the parent goes, also by kill -9 (Linux alone)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, sig)


def name_process(name: str) -> None:
    """Have `ps` and `top` tell a dyno's processes apart (Linux alone; 15 characters count)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
