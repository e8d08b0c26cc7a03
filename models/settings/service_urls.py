"""Parsing of the addresses of Recall's API, Redis and Sentry, and of HOST."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

_HOST_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*\.[a-z]{2,}(?::[0-9]+)?(?:/.*)?", re.IGNORECASE)
# The limit of DNS. Python raises UnicodeError for a longer label, not a connection error.
_LONGEST_LABEL = 63
_RECALL_HOST = re.compile(r"(?:https?://)?([a-z0-9-]+)\.recall\.ai(?:/.*)?")
# The host name from before there were regions.
_RECALL_ALIAS = "api"

# Schemes of other tools, mapped to the three that redis-py supports.
_REDIS_SCHEMES = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}
_REDIS_SCHEMES |= {"unix": "unix", "redis+socket": "unix"}
# Options of other clients about connection handling, which we configure ourselves.
_IGNORED_OPTIONS = frozenset({
    "client_name", "decode_responses", "encoding", "encoding_errors", "health_check_interval",
    "max_connections", "retry_on_error", "retry_on_timeout", "socket_connect_timeout",
    "socket_keepalive", "socket_read_size", "socket_timeout", "timeout",
})  # fmt: skip


def read_region(value: object) -> object:
    """Return a region given in any spelling, or as the host or URL of its API."""
    if not isinstance(value, str):
        return value
    found = _RECALL_HOST.fullmatch(value.lower())
    name = found[1] if found else re.sub(r"[\s_]+", "-", value.lower())
    return "us-east-1" if name == _RECALL_ALIAS else name


def read_host(text: str) -> str:
    """Return the host name or IP address to listen on; ValueError for anything else."""
    address = text.removeprefix("[").removesuffix("]")
    if text == "*":
        return "0.0.0.0"  # noqa: S104 - the operator asked for it
    try:
        return str(ip_address(address))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,253}", text):
            raise ValueError("must be a host name or an IP address, without a port") from None
    return text


def with_scheme(value: object) -> object:
    """Prepend https:// to a bare host name, as some platforms provide it."""
    if isinstance(value, str) and _HOST_NAME.fullmatch(value):
        return f"https://{value}"
    return value


def read_api_base_url(text: str) -> str:
    """Return Recall's base URL without a trailing /api/v1, which Recall's guides include."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii():
        raise ValueError("must be a URL with https:// (or http:// in a lab) and a host")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("must be a base URL without user-info, query or fragment")
    is_recalls = parts.hostname.endswith(".recall.ai")
    ending = r"/api(/v[0-9]+)?" if is_recalls else r"/api/v[0-9]+"
    path = re.sub(f"(?:{ending})?/*$", "", parts.path.rstrip("/"))
    # http would send the API key unencrypted.
    scheme = "https" if is_recalls else parts.scheme
    return f"{scheme}://{parts.netloc.lower()}{path}"


def read_sentry_dsn(value: object) -> object:
    """Validate a Sentry DSN; ValueError for one that the SDK would reject later."""
    if not isinstance(value, str):
        return value
    parts = _split(value)
    project = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not (parts.hostname and parts.username):
        raise ValueError("must be a Sentry DSN such as https://key@host/project")
    if not (project.isascii() and project.isdecimal()):
        raise ValueError("must be a Sentry DSN that ends in a project number")
    return value


def read_redis_url(text: str) -> str:
    """Return a Redis URL; ValueError for one that redis-py would reject when connecting."""
    parts = _split(f"unix://{text}" if text.startswith("/") else text)
    scheme = _REDIS_SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    _check_address(scheme, parts)
    query = dict(_redis_options(scheme, parts.query))
    address = f"{scheme}://{parts.netloc}{parts.path}"
    return f"{address}?{urlencode(query, quote_via=quote)}" if query else address


def _split(text: str) -> SplitResult:
    if not text.isprintable() or " " in text:
        raise ValueError("must be a URL without spaces or control characters")
    # The library's messages quote parts of the URL.
    try:
        parts = urlsplit(text)
        is_usable = parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(
            "must be a URL with a numeric port (escape /, ?, # and [ in a password as %2F, %3F, %23"
            " and %5B)"
        )
    return parts


def _check_address(scheme: str, parts: SplitResult) -> None:
    if parts.fragment:
        raise ValueError("must have a # in the password escaped as %23")
    if scheme == "unix":
        if not parts.path.strip("/") or (parts.netloc and "@" not in parts.netloc):
            raise ValueError("must be unix:// with the absolute path of a socket")
        return
    labels = (parts.hostname or "localhost").removesuffix(".").split(".")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError("must have a host name with labels of 1 to 63 characters")
    # redis-py uses database 0 if it cannot parse the path.
    if not re.fullmatch(r"(/[0-9]{0,9}/?)?", parts.path):
        raise ValueError("must have a number, or nothing, as the database")


def _redis_options(scheme: str, query: str) -> list[tuple[str, str]]:
    given = [
        pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in _IGNORED_OPTIONS
    ]
    known = _ANY_OPTION | (_TLS_OPTIONS if scheme == "rediss" else {})
    return [(name, _option(known, name, value)) for name, value in given]


def _option(known: Mapping[str, Callable[[str], str]], name: str, value: str) -> str:
    if name in known:
        return known[name](value)
    # An unknown name is not shown, because it may be part of a password with a ? in it.
    if name in _TLS_OPTIONS:
        raise ValueError(f"{name} in the query needs rediss://")
    raise ValueError(
        f"may only have these in the query: {', '.join([*_ANY_OPTION, *_TLS_OPTIONS])}"
    )


def _number(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("must have a number, or nothing, as the database")
    return value


def _protocol(value: str) -> str:
    if value not in ("2", "3"):
        raise ValueError("protocol in the query must be 2 or 3")
    return value


def _cert_reqs(value: str) -> str:
    need = value.lower().removeprefix("cert_")
    if need not in ("none", "optional", "required"):
        raise ValueError("ssl_cert_reqs in the query must be none, optional or required")
    return need


def _switch(value: str) -> str:
    if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError("ssl_check_hostname in the query must be true or false")
    return value


def _file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError("must not name a missing file in the query")
    return value


_ANY_OPTION: dict[str, Callable[[str], str]] = {
    "db": _number,
    "username": str,
    "password": str,
    "protocol": _protocol,
}
_TLS_OPTIONS: dict[str, Callable[[str], str]] = {
    "ssl_cert_reqs": _cert_reqs,
    "ssl_check_hostname": _switch,
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
}
