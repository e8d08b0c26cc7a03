"""Parsing of the addresses that we post to: of events, of alarms, and of the heartbeat."""

import re
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from models.settings.redirect_urls import WebAddress
from models.settings.service_urls import with_scheme

# The limits of DNS.
_LONGEST_LABEL, _LONGEST_HOST = 63, 253


def read_hook_url(text: str) -> WebAddress:
    """Return an address that can be called; ValueError for one that no call would reach."""
    address = WebAddress.parse(str(with_scheme(text)))
    if address.fragment:
        raise ValueError("must not have a fragment")
    parts = urlsplit(address.origin)
    host = parts.hostname or ""
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(0 < len(one) <= _LONGEST_LABEL for one in labels):
        raise ValueError("must have a host name with labels of 1 to 63 characters")
    # As browsers have it, a host that ends in a number is an IPv4 address.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]) and not _is_ipv4(host):
        raise ValueError("must have a host name or an IP address")
    if not _is_port(parts.netloc):
        raise ValueError("must have a port from 1 to 65535, or none")
    return address


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_port(netloc: str) -> bool:
    port = netloc.rpartition("]")[2].partition(":")[2]
    return not port or 0 < int(port) <= 65_535
