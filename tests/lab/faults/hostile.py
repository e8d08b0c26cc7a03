"""Requests a stranger or a broken sender might make: each returns headers to post a body with."""

import contextlib
import socket
from collections.abc import Iterator, Mapping

from tests.lab.sender.deliveries import Delivery
from tests.lab.sender.post import Poster, Reply, Target
from tests.lab.sender.signing import Family, new_secret, sign


def forged(delivery: Delivery, *, now: int) -> dict[str, str]:
    """Return headers signed with a secret nobody knows."""
    return _signed(delivery, new_secret(), now)


def stale(delivery: Delivery, secret: str, *, now: int, seconds: int = 301) -> dict[str, str]:
    """Return headers rightly signed `seconds` ago."""
    return _signed(delivery, secret, now - seconds)


def future(delivery: Delivery, secret: str, *, now: int, seconds: int = 301) -> dict[str, str]:
    """Return headers rightly signed `seconds` ahead of time."""
    return _signed(delivery, secret, now + seconds)


def without(headers: Mapping[str, str], part: str) -> dict[str, str]:
    """Return the headers without their `id`, `timestamp` or `signature`."""
    return {name: value for name, value in headers.items() if not name.endswith(f"-{part}")}


def mixed(delivery: Delivery, secret: str, *, now: int) -> dict[str, str]:
    """Return a valid signature whose three headers come from two families."""
    headers = _signed(delivery, secret, now)
    other: Family = "webhook" if delivery.family == "svix" else "svix"
    named = f"{delivery.family}-id"
    return {**without(headers, "id"), f"{other}-id": headers[named]}


def two_families(
    delivery: Delivery, good: str, *, now: int, valid: Family = "webhook"
) -> dict[str, str]:
    """Return both families whole, of which only `valid` is rightly signed."""
    other: Family = "webhook" if valid == "svix" else "svix"
    wrong = sign(delivery.message_id, delivery.body, [new_secret()], timestamp=now, family=other)
    right = sign(delivery.message_id, delivery.body, [good], timestamp=now, family=valid)
    return {**wrong, **right}


async def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout: float = 15) -> Reply:
    """Post any body with any headers; return the reply."""
    poster = Poster(Target.of(url), timeout)
    try:
        return await poster.post(body, headers)
    finally:
        await poster.close()


@contextlib.contextmanager
def half_sent(url: str, delivery: Delivery, headers: Mapping[str, str]) -> Iterator[socket.socket]:
    """Send the head and half the body, then hold the connection open; http only."""
    target = Target.of(url)
    with socket.create_connection((target.host, target.port), timeout=15) as connection:
        body = delivery.body
        connection.sendall(target.head(headers, len(body)) + body[: len(body) // 2])
        yield connection


def _signed(delivery: Delivery, secret: str, timestamp: int) -> dict[str, str]:
    return sign(
        delivery.message_id,
        delivery.body,
        [secret],
        timestamp=timestamp,
        family=delivery.family,
    )
