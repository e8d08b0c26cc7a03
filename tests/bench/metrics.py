"""What a contender costs: CPU seconds and PSS of a process and all that it has started."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

MEGABYTE = 1024 * 1024
SAMPLE_SECONDS = 0.5


def tree(pids: Sequence[int]) -> list[psutil.Process]:
    """The processes and their descendants, as many as still run."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            found |= {one.pid: one for one in [top, *top.children(recursive=True)]}
    return list(found.values())


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of the tree so far, children that have ended included once they were waited for."""
    total = 0.0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def machine_seconds() -> tuple[float, float]:
    """Seconds that the machine's cores have been idle, and seconds in all, since it started."""
    times = psutil.cpu_times()
    # A core that waits for the disk is one to be had.
    return times.idle + getattr(times, "iowait", 0.0), sum(times[:8])


def pss_megabytes(pids: Sequence[int]) -> float:
    """Proportional set size of the tree: shared pages count once (RSS where there is no Linux)."""
    total = 0
    for process in tree(pids):
        with contextlib.suppress(psutil.Error, OSError):
            total += _pss(process)
    return total / MEGABYTE


def _pss(process: psutil.Process) -> int:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    if not rollup.exists():
        return int(process.memory_info().rss)
    lines = (line.split() for line in rollup.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == "Pss:")


class Peak:
    """The highest PSS of a tree while the block runs, looked at twice a second."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._is_over = threading.Event()
        self.megabytes = 0.0

    def _watch(self) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            self.megabytes = max(self.megabytes, pss_megabytes(self._pids))

    @contextlib.contextmanager
    def watching(self) -> Iterator["Peak"]:
        """Look until the block ends, and once more then."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            thread.join()
            self.megabytes = max(self.megabytes, pss_megabytes(self._pids))
