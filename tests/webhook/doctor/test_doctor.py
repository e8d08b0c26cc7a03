"""The doctor: each thing that can be wrong is found, and each finding says what to do."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, make_url, select, text

from models.core.engine import make_engine
from models.settings.environment import Settings
from models.tables.base import db_now
from models.tables.delivery import Delivery
from models.tables.schema_version import HEAD
from tests.conftest import API_KEY, SECRET, MakeSettings
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.signing import new_secret
from tests.lab.stack.servers import Server, free_port
from tests.models.queries.alarms.test_alerts import a_worker
from tests.support import hooks
from tests.support.fakes import BOT
from tests.support.hooks import HookHost, React
from tests.support.rows import add_delivery
from webhook.doctor.alerts import send_test_alert
from webhook.doctor.recall import examine_recall
from webhook.doctor.redis_server import examine_redis
from webhook.doctor.result import Diagnosis
from webhook.doctor.system import examine_database, examine_settings, skew
from workers.alerts.turns import Problems, Turn, begin_turn, end_turn
from workers.queue.redis_clients import quick_redis

PRINT = Settings.read({"RECALL_WEBHOOK_SECRETS": SECRET}).recall_webhook_secrets[0].fingerprint


def by_name(findings: Iterator[Diagnosis]) -> dict[str, Diagnosis]:
    """The findings; what is not well must say what to do, and what is well has nothing to say."""
    found = list(findings)
    for finding in found:
        assert bool(finding.remedy) == (finding.level != "ok"), finding
    return {finding.name: finding for finding in found}


# -- settings ------------------------------------------------------------------


def test_secrets_are_told_by_their_fingerprints() -> None:
    """And by nothing else of theirs."""
    other = new_secret()
    settings = Settings.read({
        "RECALL_WEBHOOK_SECRETS": f"{SECRET},{other}",
        "OPS_READ_TOKENS": "read-token-0123456789,grafana:other-token-0123456789",
        "OPS_WRITE_TOKENS": "ann:write-token-0123456789",
    })  # fmt: skip
    found = by_name(examine_settings(settings))
    assert found["webhook secrets"].level == found["ops tokens"].level == "ok"
    assert PRINT in found["webhook secrets"].text
    assert found["ops tokens"].text == "ann, grafana, 1 token without a name"
    for secret in (SECRET, other, "token-0123456789"):
        assert secret.removeprefix("whsec_") not in str(found)


def test_what_is_not_set_is_found() -> None:
    """No secret: the receiver is shut. No token: API and console are."""
    found = by_name(examine_settings(Settings.read({})))
    assert found["webhook secrets"].level == "failed"
    assert found["ops tokens"].level == "warning"


# -- alerts --------------------------------------------------------------------


def test_a_test_message_that_arrived_is_said_to_have() -> None:
    """It is a message as any other, with the way to the console."""
    with HookHost() as host:
        urls = {"ALERT_WEBHOOK_URL": host.hook, "PUBLIC_URL": "https://links.example"}
        found = by_name(iter([send_test_alert(Settings.read(urls))]))
        (text,) = host.texts
    assert found["test alert"].level == "ok"
    assert text.startswith("Test message of `recall-links doctor`")
    assert text.endswith("\nhttps://links.example/console/")


@pytest.mark.parametrize(
    ("react", "words"),
    [
        (hooks.failing(404), "answered 404"),
        (hooks.failing(302, ("Location", "/")), "answered 302"),
        (hooks.hang, "did not answer in time"),
        (hooks.http_0_9, "did not answer in HTTP"),
    ],
)
def test_a_test_message_that_did_not_arrive_is_explained(react: React, words: str) -> None:
    """Without the address, which is a secret."""
    with HookHost(react) as host:
        settings = Settings.read({"ALERT_WEBHOOK_URL": host.hook})
        found = by_name(iter([send_test_alert(settings, 0.5)]))["test alert"]
    assert found.level == "failed"
    assert found.text.endswith(words)
    assert "hunter2" not in str(found)


def test_a_test_message_needs_an_address() -> None:
    """Which setting is missing is said."""
    found = by_name(iter([send_test_alert(Settings.read({}))]))["test alert"]
    assert (found.level, found.text) == ("failed", "ALERT_WEBHOOK_URL is not set")


def test_alerts_that_do_not_arrive_are_found(engine: Engine, make_settings: MakeSettings) -> None:
    """By what the workers wrote of the last minute."""
    urls = {"ALERT_WEBHOOK_URL": "https://a.example/hunter2", "HEARTBEAT_URL": "https://b.example/"}
    with engine.begin() as connection:
        turn = begin_turn(connection, reports=True)
        assert isinstance(turn, Turn)
        assert end_turn(connection, turn, Problems(webhook="answered 404"))
    found = examined(engine, make_settings(**urls))
    assert found["alert webhook"].level == "warning"
    assert found["alert webhook"].text == "the host of ALERT_WEBHOOK_URL answered 404"
    assert found["heartbeat"].level == "ok"
    assert "hunter2" not in str(found)
    assert examined(engine, make_settings())["alert webhook"].level == "ok"


# -- the database --------------------------------------------------------------


def examined(engine: Engine, settings: Settings) -> dict[str, Diagnosis]:
    """What is found of the database."""
    return by_name(examine_database(engine, settings))


def test_a_database_that_is_well_is_said_to_be(engine: Engine, make_settings: MakeSettings) -> None:
    """Its version, its migrations, its clock, its last delivery and by which secret."""
    a_worker(engine)
    add_delivery(engine, BOT, "done", secret_fingerprint=PRINT, applied_at=db_now())
    found = examined(engine, make_settings())
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["migrations"].text == f"at {HEAD}"
    assert PRINT in found["deliveries"].text
    assert found["database"].text.startswith(("PostgreSQL", "SQLite"))
    if engine.dialect.name == "postgresql":
        assert found["connections"].text.endswith("in use")


def test_a_database_that_is_away_is_found(tmp_path: Path) -> None:
    """Nothing listens; no folder is there."""
    for url in (f"postgres://x@127.0.0.1:{free_port()}/x", f"sqlite:///{tmp_path}/no/such.db"):
        found = examined_at(url)
        assert (found["database"].level, found["database"].is_away) == ("failed", True)


def examined_at(url: str) -> dict[str, Diagnosis]:
    """What is found of the database at this address."""
    settings = Settings.read({"DATABASE_URL": url})
    engine = make_engine(settings, "read")
    found = examined(engine, settings)
    engine.dispose()
    return found


def test_a_database_without_tables_is_found(tmp_path: Path) -> None:
    """And which command makes them."""
    found = examined_at(f"sqlite:///{tmp_path}/empty.db")
    assert found["migrations"].text == "there are no tables yet"
    assert "db upgrade" in found["migrations"].remedy


@pytest.mark.parametrize(("version", "remedy"), [("0003", "db upgrade"), ("9999", "deploy")])
def test_another_releases_tables_are_found(
    engine: Engine, make_settings: MakeSettings, version: str, remedy: str
) -> None:
    """Older ones are to be upgraded, newer ones are not ours to touch."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    found = examined(engine, make_settings())["migrations"]
    assert found.level == "failed"
    assert version in found.text
    assert remedy in found.remedy


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_few_connections_left_is_found(
    engine: Engine, make_settings: MakeSettings, database_url: str
) -> None:
    """Before the plan's last one is taken: of this role, whose limit a plan sets."""
    role = f"tight_{os.getpid()}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 IN ROLE pg_monitor"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    url = make_url(database_url).set(username=role).render_as_string(hide_password=False)
    found = examined_at(url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    assert found["connections"].level == "warning"
    assert found["connections"].text == "1 of 1 in use"


def test_alarms_are_findings_too(engine: Engine, make_settings: MakeSettings) -> None:
    """What worries the console worries the doctor."""
    assert examined(engine, make_settings())["no_worker"].level == "failed"


# -- deliveries ----------------------------------------------------------------


def test_that_nothing_has_arrived_is_found(engine: Engine, make_settings: MakeSettings) -> None:
    """With the address to give Recall."""
    found = examined(engine, make_settings())["deliveries"]
    assert found.level == "warning"
    assert "/webhooks/recall" in found.remedy


def test_a_secret_that_proves_deliveries_and_is_not_set_here_is_found(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """The web process has another environment than this one, or it was rotated by half."""
    add_delivery(engine, BOT, "done", secret_fingerprint="f" * 12)
    found = examined(engine, make_settings())["deliveries"]
    assert found.level == "warning"
    assert "f" * 12 in found.text


@pytest.mark.parametrize(("days", "is_found"), [(1, False), (3, True)])
def test_a_secret_that_proves_nothing_any_more_is_found(
    engine: Engine, make_settings: MakeSettings, days: int, *, is_found: bool
) -> None:
    """Two days after a rotation the old one can go."""
    for ago in (0, days * 86_400):
        add_delivery(engine, BOT, "done", secret_fingerprint=PRINT, received_at=db_now(-ago))
    found = examined(engine, make_settings(RECALL_WEBHOOK_SECRETS=f"{SECRET},{new_secret()}"))
    assert ("webhook secrets" in found) == is_found


def test_an_unused_secret_is_found_however_many_webhooks_arrive(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """More than a thousand within two days; the fingerprint of the one in use is not named."""
    add_delivery(engine, BOT, "done", secret_fingerprint=PRINT, received_at=db_now(-3 * 86_400))
    add_delivery(engine, BOT, "done", secret_fingerprint=PRINT)
    with engine.begin() as connection:
        one = connection.execute(select(Delivery.__table__).limit(1)).mappings().one()
        many = [{**one, "id": f"msg_{n}", "received_at": datetime.now(UTC)} for n in range(1100)]
        connection.execute(insert(Delivery), many)
    old = new_secret()
    found = examined(engine, make_settings(RECALL_WEBHOOK_SECRETS=f"{SECRET},{old}"))
    assert "verified no webhook" in found["webhook secrets"].text
    assert PRINT not in found["webhook secrets"].text


# -- clocks --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, "ok"), (30, "ok"), (90, "failed"), (-90, "failed")]
)
def test_a_clock_that_is_off_is_found(seconds: int, level: str) -> None:
    """In both directions, long before the tolerance is spent."""
    found = skew("some clock", datetime.now(UTC) + timedelta(seconds=seconds))
    assert found.level == level


# -- Redis ---------------------------------------------------------------------


def of_redis(url: str | None) -> dict[str, Diagnosis]:
    """What is found of Redis."""
    client = quick_redis(Settings.read({"REDIS_URL": url} if url else {}))
    found = by_name(examine_redis(client))
    if client is not None:
        client.close()
    return found


def test_redis_is_reported_with_its_eviction_policy(own_redis: Server) -> None:
    """One that may evict anything loses rate limits and bells."""
    assert {finding.level for finding in of_redis(own_redis.url).values()} == {"ok"}
    client = quick_redis(Settings.read({"REDIS_URL": own_redis.url}))
    assert client is not None
    for policy, level in (("volatile-lru", "ok"), ("allkeys-lru", "warning")):
        client.config_set("maxmemory-policy", policy)
        found = of_redis(own_redis.url)["eviction policy"]
        assert (found.level, found.text) == (level, policy)
    client.close()


def test_a_redis_that_is_away_or_not_set_is_no_failure() -> None:
    """Links come without it, only later."""
    assert of_redis(f"redis://127.0.0.1:{free_port()}")["Redis"].level == "warning"
    assert of_redis(None)["Redis"].level == "warning"


# -- Recall --------------------------------------------------------------------


def of_recall(recall: FakeRecall, key: str = "", **regions: str) -> dict[str, Diagnosis]:
    """What is found of Recall; with regions, as if each were one of Recall's."""
    given = {"RECALL_API_KEY": key or recall.api_key}
    if not regions:
        return by_name(examine_recall(Settings.read(given | {"RECALL_API_BASE_URL": recall.url})))
    settings = Settings.read(given).model_copy(update={"recall_region": "us-east-1"})
    return by_name(examine_recall(settings, lambda name: regions.get(name, regions["others"])))


def test_a_key_that_opens_recall_is_said_to(recall: FakeRecall) -> None:
    """With one cheap call, which the key is not printed with."""
    found = of_recall(recall)
    assert found["API key"].level == "ok"
    assert recall.api_key not in str(found)
    assert len(recall.calls.all()) == 1


def test_a_key_that_is_not_set_is_found() -> None:
    """Workers would not start."""
    assert by_name(examine_recall(Settings.read({})))["API key"].level == "failed"


@pytest.mark.parametrize(
    ("status", "remedy", "is_away"),
    [
        (401, "key is wrong", False),
        (402, "credit", False),
        (403, "firewall", False),
        (429, "RECALL_RATE_SHARE", False),
        (503, "status page", True),
    ],
)
def test_each_refusal_of_recalls_says_what_to_do(
    recall: FakeRecall, status: int, remedy: str, *, is_away: bool
) -> None:
    """They differ in who can mend them."""
    recall.faults.add(Fault(status=status))
    found = of_recall(recall)["API key"]
    assert (found.level, found.is_away) == ("failed", is_away)
    assert remedy in found.remedy


def test_a_key_of_another_region_is_found(recall: FakeRecall) -> None:
    """Recall's commonest mistake: it names the region to set."""
    with FakeRecall(limits=False, api_key=API_KEY) as home:
        found = of_recall(recall, API_KEY, **{"eu-central-1": home.url, "others": recall.url})
    assert (
        found["API key"].remedy == "the key belongs to eu-central-1: set RECALL_REGION=eu-central-1"
    )


def test_a_recall_that_does_not_answer_is_found() -> None:
    """Nobody listens there."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = Settings.read({"RECALL_API_KEY": API_KEY, "RECALL_API_BASE_URL": url})
    found = by_name(examine_recall(settings))["Recall"]
    assert (found.level, found.is_away) == ("failed", True)


def test_recalls_clock_is_compared_with_ours(recall: FakeRecall) -> None:
    """By the Date of its answer; which of the two is off is not for us to say."""
    now = datetime.now(UTC)
    recall.faults.add(
        Fault(status=200, headers={"Date": format_datetime(now, usegmt=True)}, times=1)
    )
    assert of_recall(recall)["Recall's clock"].level == "ok"
    late = format_datetime(now - timedelta(seconds=200), usegmt=True)
    recall.faults.add(Fault(status=401, headers={"Date": late}))
    found = of_recall(recall)["Recall's clock"]
    assert found.level == "failed"
    assert "WEBHOOK_TOLERANCE_SECONDS" in found.remedy
