"""What the platform's router says of a request; what no router says is left out, and no error.

waitress reads these headers hop by hop, and some that a sender made up end in its IndexError. The
router's own hop is the last one: only that is handed on, and only where it is an address.
"""

import re
from collections.abc import MutableMapping
from ipaddress import ip_address

FOR, PROTO, PORT = "X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_PORT"
_SCHEMES = ("http", "https")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# An address with a port or without; one with colons has brackets before its port.
_HOP = re.compile(r"\[([0-9a-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+|([0-9a-f:.]+)", re.IGNORECASE)


def keep_only_sound(headers: MutableMapping[str, str]) -> None:
    """Leave out each of the three that waitress is to believe, where it is malformed."""
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
