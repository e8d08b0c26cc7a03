"""`recall-links doctor --send-test-alert`: whether a message arrives is tried, when asked."""

import json

from click.testing import CliRunner, Result
from sqlalchemy import Engine

from tests.conftest import API_KEY, SECRET
from tests.models.queries.alarms.test_alerts import a_worker
from tests.support import hooks
from tests.support.console_client import READ
from tests.support.hooks import HookHost
from webhook.cli.main import cli


def doctor(database_url: str, host: HookHost, *words: str) -> Result:
    """Run the doctor where all is well."""
    environ = {
        "DATABASE_URL": database_url,
        "RECALL_API_KEY": API_KEY,
        "RECALL_WEBHOOK_SECRETS": SECRET,
        "OPS_READ_TOKENS": READ,
        "ALERT_WEBHOOK_URL": host.hook,
    }
    return CliRunner().invoke(cli, ("doctor", "--offline", *words), env=environ)


def test_a_message_is_sent_when_asked_and_only_then(engine: Engine, database_url: str) -> None:
    """Exit 0 if it arrived."""
    a_worker(engine)
    with HookHost() as host:
        assert doctor(database_url, host).exit_code == 0
        assert host.texts == []
        done = doctor(database_url, host, "--send-test-alert")
        assert len(host.texts) == 1
    assert done.exit_code == 0
    assert "test alert: the test message arrived" in done.output


def test_a_message_that_did_not_arrive_is_a_failure(engine: Engine, database_url: str) -> None:
    """Exit 1; and the address is shown to nobody, in words or as JSON."""
    a_worker(engine)
    with HookHost(hooks.failing(410)) as host:
        done = doctor(database_url, host, "--send-test-alert", "--json")
        said = doctor(database_url, host, "--send-test-alert")
    assert (done.exit_code, said.exit_code) == (1, 1)
    found = [one for one in json.loads(done.stdout)["findings"] if one["name"] == "test alert"]
    assert found[0]["text"].endswith("the host of ALERT_WEBHOOK_URL answered 410")
    assert "hunter2" not in done.output + said.output
