"""Cleans the router's X-Forwarded headers; a malformed one is removed without an error.

waitress parses every hop of these headers, and some forged values raise IndexError in it. The
router's own hop is the last one; only that is passed on, and only if it is an address.
"""

import re
from collections.abc import MutableMapping
from ipaddress import ip_address

FOR, PROTO, PORT = "X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_PORT"
_SCHEMES = ("http", "https")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# An address with or without a port; an IPv6 address with a port has brackets.
_HOP = re.compile(r"\[([0-9a-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+|([0-9a-f:.]+)", re.IGNORECASE)


def remove_malformed(headers: MutableMapping[str, str]) -> None:
    """Remove each of the three trusted headers that is malformed."""
    _put(headers, FOR, _address(headers.get(FOR, "")))
    scheme = headers.get(PROTO, "").strip().lower()
    _put(headers, PROTO, scheme if scheme in _SCHEMES else None)
    port = headers.get(PORT, "").strip()
    _put(headers, PORT, port if _PORT.fullmatch(port) else None)


def _put(headers: MutableMapping[str, str], name: str, value: str | None) -> None:
    if value is None:
        headers.pop(name, None)
    else:
        headers[name] = value


def _address(hops: str) -> str | None:
    found = _HOP.fullmatch(hops.rpartition(",")[2].strip())
    try:
        return str(ip_address(next(filter(None, found.groups())))) if found else None
    except ValueError:
        return None
