"""Limits wrong tokens per address: against guessing, and without locking out who has one."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address, ip_network

import structlog

BURST = 10
# One more wrong token every half minute.
PER_SECOND = 1 / 30
MOST_ADDRESSES = 10_000
MOST_REMEMBERED = 20
logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Attempts:
    """What one address has tried: the failures it has left, and hashes of its latest tokens."""

    left: float = BURST
    at: float = 0.0
    right: tuple[bytes, ...] = field(default=(), repr=False)
    wrong: tuple[bytes, ...] = field(default=(), repr=False)


class FailedLogins:
    """Counts different wrong tokens of each address in this process, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, _Attempts] = OrderedDict()

    def wait(self, address: str | None, digest: bytes, *, is_right: bool) -> float:
        """Return 0 if this token may be answered, else the seconds until another may be tried."""
        network = _network(address)
        with self._lock:
            now = self._clock()
            before = self._attempts.pop(network, None) or _Attempts(at=now)
            left = min(BURST, before.left + (now - before.at) * PER_SECOND)
            after = _counted(replace(before, left=left, at=now), digest, is_right=is_right)
            self._attempts[network] = after or replace(before, left=left, at=now)
            if len(self._attempts) > MOST_ADDRESSES:
                self._attempts.popitem(last=False)
        if after is None:
            return (1 - left) / PER_SECOND
        if after.left < 1 <= left:
            logger.warning("too many wrong tokens from one address", address=network)
        return 0.0


def _counted(now: _Attempts, digest: bytes, *, is_right: bool) -> _Attempts | None:
    """Return what the address has tried after this token; None if it must wait first."""
    # Behind a proxy, many share one address: a stranger's guesses must not lock out the others.
    if is_right and digest in now.right:
        return now
    if now.left < 1:
        return None
    if is_right:
        return replace(now, right=_latest(now.right, digest))
    # A script that repeats its old token is not guessing.
    if digest in now.wrong:
        return now
    return replace(now, left=now.left - 1, wrong=_latest(now.wrong, digest))


def _latest(kept: tuple[bytes, ...], digest: bytes) -> tuple[bytes, ...]:
    return (*kept, digest)[-MOST_REMEMBERED:]


def _network(address: str | None) -> str:
    try:
        found = ip_address(address or "")
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    # One customer has a whole /64.
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
