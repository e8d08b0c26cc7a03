"""Verifies that a request is Recall's: Standard Webhooks over the raw body, both header families.

https://docs.recall.ai/docs/authenticating-requests-from-recallai and
https://docs.svix.com/receiving/verifying-payloads/how-manual. The official packages are not
used: on hostile input both raise errors of other types, and they mix the two families. The tests
compare this module with both.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from models.settings.credentials import WebhookSecret
from models.tables.base import longest
from models.tables.delivery import Delivery

Scheme = Literal["svix", "webhook"]
HEADERS = ("id", "timestamp", "signature")
SCHEMES: tuple[Scheme, ...] = ("webhook", "svix")
# A rotation needs two or three; more than this is an attempt to waste our time.
MOST_SIGNATURES = 16
_MESSAGE_ID = re.compile(rf"[A-Za-z0-9_.-]{{1,{longest(Delivery.id)}}}\Z", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
_DIGEST_BYTES = 32


class Reason(StrEnum):
    """Why a request failed verification."""

    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    STALE_TIMESTAMP = "stale_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    NO_MATCHING_SIGNATURE = "no_matching_signature"


class UnverifiedError(Exception):
    """The request is not verifiably Recall's; `verify` raises nothing else."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified request: its message id, and what verified it."""

    message_id: str
    scheme: Scheme
    secret_fingerprint: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """The three headers of one family, as received."""

    scheme: Scheme
    message_id: str
    timestamp: str
    signature: str


class Headers(Protocol):
    """A request's headers; names ignore case."""

    def get(self, key: str, default: str) -> str:
        """Return a header, or the default."""


def verify(
    headers: Headers,
    body: bytes,
    secrets: Sequence[WebhookSecret],
    now: float,
    tolerance: float,
) -> Verified:
    """Verify a request, or raise UnverifiedError with the reason. Times are Unix seconds.

    A family counts only when all three of its headers are present; families are never mixed.
    """
    # When both families are present, either one is enough.
    stamps = [stamp for scheme in SCHEMES if (stamp := read_stamp(headers, scheme))]
    failure = UnverifiedError(Reason.MISSING_HEADER)
    for stamp in stamps:
        try:
            return _verify(stamp, body, secrets, now, tolerance)
        except UnverifiedError as error:
            failure = error
    raise failure


def read_stamp(headers: Headers, scheme: Scheme) -> Stamp | None:
    """Return a family's headers; None when one is missing or empty."""
    values = [headers.get(f"{scheme}-{name}", "") for name in HEADERS]
    return Stamp(scheme, *values) if all(values) else None


def _verify(
    stamp: Stamp, body: bytes, secrets: Sequence[WebhookSecret], now: float, tolerance: float
) -> Verified:
    # Cheap checks first, so that most junk costs no hash.
    if not _MESSAGE_ID.match(stamp.message_id) or not _TIMESTAMP.match(stamp.timestamp):
        raise UnverifiedError(Reason.MALFORMED_HEADER)
    age = now - int(stamp.timestamp)
    if age > tolerance:
        raise UnverifiedError(Reason.STALE_TIMESTAMP)
    if age < -tolerance:
        raise UnverifiedError(Reason.FUTURE_TIMESTAMP)
    signed = f"{stamp.message_id}.{stamp.timestamp}.".encode() + body
    signatures = _read_signatures(stamp.signature)
    matching = None
    # Compare every secret with every signature, so that timing does not reveal which matched.
    for secret in secrets:
        expected = hmac.digest(secret.key, signed, hashlib.sha256)
        for signature in signatures:
            if hmac.compare_digest(expected, signature):
                matching = secret
    if matching is None:
        raise UnverifiedError(Reason.NO_MATCHING_SIGNATURE)
    return Verified(stamp.message_id, stamp.scheme, matching.fingerprint)


def _read_signatures(header: str) -> list[bytes]:
    """Return the digests of the `v1` entries; other versions and malformed entries are skipped."""
    digests = []
    for entry in header.split(" ", MOST_SIGNATURES)[:MOST_SIGNATURES]:
        version, _, encoded = entry.partition(",")
        if version == "v1" and (digest := _decode(encoded)) is not None:
            digests.append(digest)
    return digests


def _decode(encoded: str) -> bytes | None:
    try:
        digest = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST_BYTES else None
