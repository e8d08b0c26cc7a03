"""How the API sends its responses: 304 if the client has them already, gzip if it accepts it."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator

from flask import Response, request

# A shorter body fits into one packet anyway.
SHORTEST_GZIPPED = 1000
# Ids are random: a higher level costs two to four times the CPU, and saves a tenth at most.
LEVEL = 1
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


def conditional_and_gzipped(response: Response) -> Response:
    """Add an ETag, answer 304 if it is the client's, and compress; for after_request.

    For responses without secrets only: compressed beside text that an attacker chooses, a secret
    could be guessed from the length.
    """
    response.vary.update(("Accept", "Accept-Encoding"))
    is_gzipped = takes_gzip() and (response.is_streamed or is_long(response))
    if response.status_code == 200 and not response.is_streamed:
        digest = hashlib.sha256(response.get_data()).hexdigest()[:32]
        # A strong ETag names the bytes as sent.
        response.set_etag(f"{digest}-gzip" if is_gzipped else digest)
        response.make_conditional(request)
    if is_gzipped and response.status_code != 304:
        _gzip(response)
    return response


def is_long(response: Response) -> bool:
    """Whether compressing a body is worth it."""
    return len(response.get_data()) >= SHORTEST_GZIPPED


def takes_gzip() -> bool:
    """Whether the client accepts gzip, and does not prefer the plain body."""
    accepted = request.accept_encodings
    plain = max((quality for name, quality in accepted if name.lower() == "identity"), default=0)
    return accepted["gzip"] > 0 and accepted["gzip"] >= plain


def _gzip(response: Response) -> None:
    response.headers["Content-Encoding"] = "gzip"
    if not response.is_streamed:
        response.set_data(b"".join(_gzipped([response.get_data()])))
        return
    # Closing the response must also close the rows' connection.
    if close := getattr(response.response, "close", None):
        response.call_on_close(close)
    response.response = _gzipped(response.iter_encoded())


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _WITH_GZIP_HEADER)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
