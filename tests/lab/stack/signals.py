"""SIGTERM and SIGHUP end a command of ours as Ctrl-C does: what it started is ended first."""

import signal
from types import FrameType

ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """Turn the first of these signals into a KeyboardInterrupt; a second one changes nothing."""
    for sig in ENDINGS:
        # nohup means it.
        if signal.getsignal(sig) != signal.SIG_IGN:
            signal.signal(sig, _interrupt)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    for sig in ENDINGS:
        signal.signal(sig, signal.SIG_IGN)
    raise KeyboardInterrupt
