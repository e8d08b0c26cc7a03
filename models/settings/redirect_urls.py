"""Strict parsing of the URLs that browsers are redirected to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

LONGEST = 2000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_CHARACTERS = r"A-Za-z0-9._~!$&'()*+,;=:@%/\-"
# No user-info, backslash, space or control character: browsers rewrite or drop these and would
# then open another address than the one we checked.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?|\[::1\])(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>/[{_CHARACTERS}]*)?(?P<query>\?[{_CHARACTERS}?]*)?(?P<fragment>#[{_CHARACTERS}?]*)?\Z",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An absolute https URL (http on loopback); `query` and `fragment` include ? and #."""

    origin: str
    path: str
    query: str
    fragment: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL; the ValueError explains the problem."""
        found = _ADDRESS.match(text) if len(text) <= LONGEST else None
        if found is None:
            raise ValueError("must be an absolute https:// URL without user-info")
        scheme, host, port = found["scheme"].lower(), found["host"].lower(), found["port"]
        if scheme == "http" and host not in LOOPBACK:
            raise ValueError("must be https:// (http:// is for loopback only)")
        path = found["path"] or "/"
        # Decoded first, because browsers resolve %2e%2e like `..`.
        plain = unquote(path)
        if "\\" in plain or {".", ".."} & set(plain.split("/")):
            raise ValueError("must not have . or .. in the path")
        shown = f":{int(port)}" if port and port != _DEFAULT_PORTS[scheme] else ""
        return cls(f"{scheme}://{host}{shown}", path, found["query"] or "", found["fragment"] or "")

    def __str__(self) -> str:
        return f"{self.origin}{self.path}{self.query}{self.fragment}"

    def is_under(self, allowed: "WebAddress") -> bool:
        """Whether this URL has the origin of `allowed` and a path at or below it."""
        folder = allowed.path if allowed.path.endswith("/") else f"{allowed.path}/"
        is_within = self.path == allowed.path or self.path.startswith(folder)
        return self.origin == allowed.origin and is_within

    def with_query(self, added: str) -> str:
        """Return the URL with parameters appended; existing ones stay unchanged."""
        joint = "&" if self.query else "?"
        return f"{self.origin}{self.path}{self.query}{joint}{added}{self.fragment}"


def is_allowed(address: WebAddress, allowed: Iterable[WebAddress]) -> bool:
    """Whether a URL is at or below one of the allowed URLs."""
    return any(address.is_under(one) for one in allowed)
