"""Bulk retries as batches: what came of one, on both databases and on each surface."""

import json

from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, update

from models.core.serialize import plain
from models.queries.failures.relink_batches import RelinkBatchResult, batch_result
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from tests.conftest import MakeSettings
from tests.support.console_client import WRITE
from tests.support.ids import new_id
from tests.support.rows import add_bot, rows
from webhook.cli.main import cli
from webhook.web.auth import BEARER
from workers.privacy.retention import Retention

BUSY = "http_503: bot/{id}"
HEADERS = {"Authorization": BEARER + WRITE}


def retried(app: Flask, bots: list[str]) -> int:
    """Retry these bots, as a script would; the batch's number."""
    answer = app.test_client().post("/api/relink", json={"bot_ids": bots}, headers=HEADERS)
    assert answer.status_code == 202
    number: int = answer.get_json()["batch"]
    return number


def settle(engine: Engine, bot: str, link_state: str, error: str | None = None) -> None:
    """End a look-up of a bot."""
    due_at = db_now(600) if link_state == "partial" else None
    settled = {"link_state": link_state, "last_error": error, "settled_at": db_now(1)}
    with engine.begin() as connection:
        connection.execute(update(Bot).where(Bot.id == bot).values(**settled, due_at=due_at))


def result(engine: Engine, batch: int) -> RelinkBatchResult:
    """What came of a batch."""
    with engine.connect() as connection:
        found = batch_result(connection, batch)
    assert found is not None
    return found


def counts(found: RelinkBatchResult) -> tuple[int, int, int, dict[str, int]]:
    """How many came through, wait, and failed again by what."""
    by_what = {one.reason: one.count for one in found.reasons}
    return found.came_through, found.waiting, found.failed_again, by_what


def failed_bots(engine: Engine, number: int) -> list[str]:
    """Add bots that were given up."""
    bots = sorted(new_id() for _ in range(number))
    for bot in bots:
        add_bot(engine, bot, link_state="failed", last_error=BUSY, settled_at=db_now(-60))
    return bots


def test_a_batch_counts_who_came_through_and_who_failed_again(app: Flask, engine: Engine) -> None:
    """Nobody before a look-up has ended; a linked bot that is looked up again waits as well."""
    bots = failed_bots(engine, 6)
    add_bot(engine, linked := new_id(), link_state="linked", settled_at=db_now(-60), due_at=None)
    batch = retried(app, [*bots, linked])
    assert counts(result(engine, batch)) == (0, 7, 0, {})
    settle(engine, bots[0], "linked")
    settle(engine, bots[1], "no_meetings")
    settle(engine, bots[2], "failed", BUSY)
    settle(engine, bots[3], "partial", "timeout: calendar/meetings/{id}")
    assert counts(result(engine, batch)) == (2, 3, 2, {"http_503": 1, "timeout": 1})
    assert result(engine, batch).bots == 7


def test_the_next_batch_leaves_the_outcome_of_the_last_as_it_was(
    app: Flask, engine: Engine
) -> None:
    """It stays to be looked at, whatever becomes of the bots later."""
    bots = failed_bots(engine, 3)
    first = retried(app, bots)
    settle(engine, bots[0], "linked")
    settle(engine, bots[1], "failed", BUSY)
    second = retried(app, bots[1:])
    assert second == first + 1
    settle(engine, bots[1], "linked")
    assert counts(result(engine, first)) == (1, 1, 1, {"http_503": 1})
    assert counts(result(engine, second)) == (1, 1, 0, {})


def test_a_batch_is_the_same_on_every_surface(
    app: Flask, writer: FlaskClient, engine: Engine, database_url: str
) -> None:
    """By its number; any other is an error that says so."""
    bots = failed_bots(engine, 2)
    batch = retried(app, bots)
    settle(engine, bots[0], "failed", BUSY)
    expected = plain(result(engine, batch))
    api = app.test_client()
    assert api.get(f"/api/failures/batches/{batch}", headers=HEADERS).get_json() == expected
    (item,) = api.get("/api/failures/batches", headers=HEADERS).get_json()["items"]
    assert item.items() <= expected.items()
    html = writer.get("/console/failures").text
    assert f'href="/console/failures/batches/{batch}"' in html
    page = writer.get(f"/console/failures/batches/{batch}").text
    assert f"/console/bots/{bots[0]}" in page
    assert expected["reasons"][0]["remedy"] in page.replace("&#39;", "'")
    for path, status in (("99", 404), ("x", 400), ("9" * 30, 400)):
        for place in ("/api", "/console"):
            found = writer.get(f"{place}/failures/batches/{path}")
            assert found.status_code == status, path
    run = CliRunner(env={"DATABASE_URL": database_url}).invoke
    said = run(cli, ["failures", "--batch", str(batch), "--json"])
    assert json.loads(said.output) == expected
    lines = run(cli, ["failures", "--batch", str(batch)]).output
    assert "waiting\t1\n" in lines
    assert f"http_503: {expected['reasons'][0]['remedy']}" in lines
    assert "http_503,1," in run(cli, ["failures", "--batch", str(batch), "--csv"]).output
    assert run(cli, ["failures", "--batch", "99"]).exit_code == 1


def test_one_bot_alone_is_no_batch(app: Flask, engine: Engine) -> None:
    """Its own page says what came of it."""
    (bot,) = failed_bots(engine, 1)
    answer = app.test_client().post(f"/api/bots/{bot}/relink", headers=HEADERS)
    assert answer.status_code == 202
    assert rows(engine, RelinkBatch) == []


def test_old_batches_are_deleted_with_their_bots(
    app: Flask, engine: Engine, make_settings: MakeSettings
) -> None:
    """As call records are, after RETAIN_ATTEMPT_DAYS."""
    bots = failed_bots(engine, 2)
    old, kept = retried(app, bots), retried(app, bots[:1])
    long_ago = update(RelinkBatch).where(RelinkBatch.id == old)
    with engine.begin() as connection:
        connection.execute(long_ago.values(at=db_now(-31 * 86_400)))
    retention = Retention(engine, make_settings())
    retention.purge()
    retention.purge()
    assert [row.id for row in rows(engine, RelinkBatch)] == [kept]
    assert [row.batch_id for row in rows(engine, RelinkBatchBot)] == [kept]
