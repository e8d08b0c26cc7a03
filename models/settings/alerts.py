"""Settings of alerts: where alarms are reported, and where the heartbeat goes."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, SecretStr

from models.settings.redirect_urls import WebAddress
from models.settings.service_urls import with_scheme

# The limits of DNS.
_LONGEST_LABEL, _LONGEST_HOST = 63, 253


def _url(value: object) -> object:
    if not isinstance(value, str):
        return value
    address = WebAddress.parse(value)
    if address.fragment:
        raise ValueError("must not have a fragment")
    parts = urlsplit(address.origin)
    host = parts.hostname or ""
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(0 < len(one) <= _LONGEST_LABEL for one in labels):
        raise ValueError("must have a host name with labels of 1 to 63 characters")
    if not _is_port(parts.netloc):
        raise ValueError("must have a port from 1 to 65535, or none")
    return str(address)


def _is_port(netloc: str) -> bool:
    port = netloc.rpartition("]")[2].partition(":")[2]
    return not port or 0 < int(port) <= 65_535


# Secrets: whoever knows one can write there, or report a dead service as alive.
HookUrl = Annotated[SecretStr, BeforeValidator(_url), BeforeValidator(with_scheme)]


class AlertSettings(BaseModel):
    """Optional: without them, alarms are only shown."""

    alert_webhook_url: HookUrl | None = None
    heartbeat_url: HookUrl | None = None
