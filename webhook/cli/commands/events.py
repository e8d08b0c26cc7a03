"""events: the events that are sent to others, as a list or followed as they happen."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
from sqlalchemy import Connection, func, select

from models.core.serialize import plain
from models.queries.events.event_list import EventFilter, events
from models.queries.registry import EVENTS
from models.queries.rows import EventRow
from models.queries.views import EVENT_LOG
from webhook.cli.commands.event_actions import COMMANDS as ACTIONS
from webhook.cli.commands.lists import as_filter, list_command
from webhook.cli.context import Session

POLL_SECONDS = 1.0
_PAGE = 500
_LIST = list_command(EVENTS)
_LIST.name = "list"
# Where the feed is read to: these say how a list is shown.
_FORMS = ("form", "limit", "columns")


@click.pass_context
def _run(context: click.Context, /, *, follow: bool, **given: Any) -> None:
    if context.invoked_subcommand is not None:
        return
    if follow:
        wanted = {name: v for name, v in given.items() if name not in _FORMS}
        _follow(context.obj, as_filter(EventFilter, wanted))
    else:
        context.invoke(_LIST, **given)


def _follow(session: Session, wanted: EventFilter) -> None:
    for row in _feed(session, wanted):
        # One line an event, flushed at once: the reader is a program.
        click.echo(json.dumps(plain(row), ensure_ascii=False))


def _feed(session: Session, wanted: EventFilter) -> Iterator[EventRow]:
    place = session.read(_newest_position) if wanted.after is None else wanted.after
    while True:
        listing = events(wanted.model_copy(update={"after": place}))
        rows = session.read(partial(listing.page, limit=_PAGE)).rows
        yield from rows
        if rows:
            place = rows[-1].position
        else:
            time.sleep(POLL_SECONDS)


def _newest_position(connection: Connection) -> int:
    return connection.scalar(select(func.max(EVENT_LOG.c.position))) or 0


FOLLOW = click.Option(
    ["--follow"],
    is_flag=True,
    help="Print each event as it happens, a JSON object a line; --after starts earlier.",
)
GROUP = click.Group(
    "events",
    help="Events, newest first; --follow prints them as they happen.",
    callback=_run,
    invoke_without_command=True,
    params=[FOLLOW, *_LIST.params],
    commands=[_LIST, *ACTIONS],
)
COMMANDS = (GROUP,)
