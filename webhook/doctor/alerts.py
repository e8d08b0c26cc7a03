"""What a doctor looks at of alerts: whether the last ones arrived, and a test message."""

import os
from collections.abc import Iterator

from sqlalchemy import Connection

from models.settings.environment import Settings
from webhook.doctor.result import Diagnosis
from workers.alerts.message import sample_message
from workers.alerts.turns import Problems, read_alert_state
from workers.recall_api.other_hosts import SECONDS, deliver
from workers.recall_api.transport import HttpClient, make_ssl_context

WEBHOOK, HEARTBEAT, TEST = "alert webhook", "heartbeat", "test alert"


def examine_alerts(connection: Connection, settings: Settings) -> Iterator[Diagnosis]:
    """Look at what is set, and whether the last message and heartbeat arrived."""
    state = read_alert_state(connection)
    problems = state.problems if state else Problems()
    yield _examine(
        WEBHOOK, "ALERT_WEBHOOK_URL", problems.webhook, is_set=bool(settings.alert_webhook_url)
    )
    yield _examine(
        HEARTBEAT, "HEARTBEAT_URL", problems.heartbeat, is_set=bool(settings.heartbeat_url)
    )


def _examine(name: str, setting: str, problem: str | None, *, is_set: bool) -> Diagnosis:
    if not is_set:
        return Diagnosis("ok", name, f"{setting} is not set, and it is optional")
    if problem is None:
        return Diagnosis("ok", name, f"{setting} is set")
    return Diagnosis("warning", name, f"the host of {setting} {problem}", _remedy(setting))


def send_test_alert(settings: Settings, seconds: float = SECONDS) -> Diagnosis:
    """Send a test message to ALERT_WEBHOOK_URL, and say whether it arrived."""
    url = settings.alert_webhook_url
    if url is None:
        remedy = "set it to a Slack-compatible incoming webhook"
        return Diagnosis("failed", TEST, "ALERT_WEBHOOK_URL is not set", remedy)
    http = HttpClient(make_ssl_context(os.environ.get("SSL_CERT_FILE")))
    body = sample_message(settings.public_url)
    try:
        problem = deliver(http, "POST", url.get_secret_value(), body, seconds=seconds)
    finally:
        http.close()
    if problem is None:
        return Diagnosis("ok", TEST, "the test message arrived")
    words = f"the test message did not arrive: the host of ALERT_WEBHOOK_URL {problem}"
    return Diagnosis("failed", TEST, words, _remedy("ALERT_WEBHOOK_URL"))


def _remedy(setting: str) -> str:
    return f"compare {setting} with what its service shows, and check the network from here"
