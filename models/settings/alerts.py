"""Settings of alerts: where alarms are reported, and where the heartbeat goes."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, SecretStr

from models.settings.hook_urls import read_hook_url


def _url(value: object) -> object:
    return str(read_hook_url(value)) if isinstance(value, str) else value


# Secrets: whoever knows one can write there, or report a dead service as alive.
HookUrl = Annotated[SecretStr, BeforeValidator(_url)]


class AlertSettings(BaseModel):
    """Optional: without them, alarms are only shown."""

    alert_webhook_url: HookUrl | None = None
    heartbeat_url: HookUrl | None = None
