"""links, bots, deliveries, rejections, audit: the lists, with the API's filters."""

from itertools import islice
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from models.queries.calendars.nightly_check import describe_nothing, last_nightly_check
from models.queries.filters import ROWS, Filter
from models.queries.metadata_filter import FIELD, FORM, PREFIX
from models.queries.registry import EVENTS, FAILURES, FINDINGS, LISTS, MISSED, ListKind
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import fields_of, print_rows, visible
from webhook.web.validation import BadParameterError, checked

# The columns that fit a terminal; JSON and CSV have every column.
SHOWN = {
    "links": (
        "bot_id",
        "external_id",
        "meeting_title",
        "meeting_start",
        "bot_status",
        "recorded",
        "meeting_state",
    ),
    "bots": (
        "bot_id",
        "bot_status",
        "recorded",
        "link_state",
        "attempts",
        "due_at",
        "ended_sub_code",
        "last_error",
    ),
    "failures": (
        "reason",
        "count",
        "failed",
        "partial",
        "pending",
        "last_seen_at",
        "example_bot_id",
    ),
    "recordings": (
        "recording_id",
        "bot_id",
        "recording_status",
        "transcript_status",
        "started_at",
        "expires_at",
    ),
    "deliveries": ("received_at", "event", "outcome", "reason", "bot_id", "copies"),
    "missed": ("external_id", "meeting_title", "meeting_start", "reason", "sub_code", "bot_id"),
    "calendar-users": (
        "external_id",
        "email",
        "google_connected",
        "microsoft_connected",
        "seen_at",
        "gone_at",
    ),
    "reconciles": (
        "run_id",
        "state",
        "started_by",
        "started_at",
        "bots_seen",
        "bots_missed",
        "statuses_missed",
    ),
    "findings": ("kind", "external_id", "meeting_title", "starts_at", "subject", "found_at"),
    "events": ("position", "created_at", "type", "bot_id", "state", "attempts"),
    "rejections": ("id", "received_at", "reason", "remote_addr", "message_id", "resolved_at"),
}


# What checks of calendars find: without a check, an empty list says nothing.
NOTHING = {MISSED.name: "No meeting was missed.", FINDINGS.name: "No findings."}
METADATA_HELP = "text in the bot's metadata; may be repeated, then all must hold"


def list_command(kind: ListKind) -> click.Command:
    """Return the command of a list, with an option for each field of its filter."""

    def run(
        session: Session, form: str, limit: int, columns: list[str] | None, **given: Any
    ) -> None:
        wanted = as_filter(kind.wanted, given)
        reader = session.reader()
        listing = kind.listing(wanted, reader.dialect)
        rows = reader.stream(listing)
        shown = SHOWN.get(kind.name) or fields_of(kind.row)
        if not print_rows(islice(rows, limit or None), kind.row, shown, form, columns):
            # For people: a program reads what it asked for, and the exit code.
            if form == "table":
                _explain_nothing(session, kind, given)
            raise click.exceptions.Exit(NOTHING_FOUND)

    command = click.command(kind.words[-1], help=f"{kind.summary}.")(click.pass_obj(run))
    command.params += [*filter_options(kind.wanted), _columns_option(kind.row), *_FORMS]
    return command


def _explain_nothing(session: Session, kind: ListKind, given: dict[str, Any]) -> None:
    if kind.name in NOTHING:
        what = "Nothing matches." if any(given.values()) else NOTHING[kind.name]
        click.echo(describe_nothing(what, session.read(last_nightly_check)), err=True)


def _columns_option(row: type) -> click.Option:
    names = fields_of(row)

    def read(_context: click.Context, _param: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        asked = [name.strip() for name in text.split(",")]
        if unknown := [name for name in asked if name not in names]:
            raise click.BadParameter(
                f"{visible(unknown[0]) or 'a blank'} is no column; there are {', '.join(names)}"
            )
        return list(dict.fromkeys(asked))

    return click.Option(
        ["--columns"], callback=read, metavar="NAME,…", help="Only these columns, in this order."
    )


def filter_options(wanted: type[Filter]) -> list[click.Parameter]:
    """Return an option for each field of a filter."""
    return [_option(name, field) for name, field in wanted.model_fields.items()]


def as_filter(wanted: type[Filter], given: dict[str, Any]) -> Any:
    """Return a filter from options; an invalid one is a usage error that names the option."""
    try:
        return checked(wanted, {name: v for name, v in given.items() if v not in (None, False, ())})
    except BadParameterError as error:
        raise wrong_option(error) from None


def wrong_option(error: BadParameterError) -> click.BadParameter:
    """Return a usage error that names the option of a filter's field."""
    if error.parameter.startswith(PREFIX):
        key = error.parameter.removeprefix(PREFIX)
        return click.BadParameter(visible(f"{key}: {error.detail}"), param_hint=f"--{FIELD}")
    name = "--" + error.parameter.replace("_", "-")
    return click.BadParameter(error.detail, param_hint=name)


def _option(name: str, field: FieldInfo) -> click.Option:
    flag = "--" + name.replace("_", "-")
    if field.annotation is bool:
        return click.Option([flag], is_flag=True, help=field.description)
    if name == FIELD:
        return click.Option([flag], multiple=True, metavar=FORM, help=METADATA_HELP)
    choices = _choices(field.annotation)
    kind = click.Choice(choices) if choices else click.STRING
    return click.Option([flag], type=kind, help=field.description)


def _choices(annotation: Any) -> list[str]:
    if annotation is bool:
        # Of three values: what is not asked is neither.
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    inner = [one for one in get_args(annotation) if one is not NoneType]
    return [choice for one in inner for choice in _choices(one)] if inner else []


_FORMS: list[click.Parameter] = [
    click.Option(["--json", "form"], flag_value="json", help="Print JSON."),
    click.Option(["--csv", "form"], flag_value="csv", help="Print CSV, every column."),
    click.Option(
        ["--table", "form"], flag_value="table", default="table", help="Print a table (default)."
    ),
    click.Option(["--limit"], type=click.IntRange(min=0), default=ROWS, show_default=True,
                 help="Maximum number of rows; 0 for all."),
]  # fmt: skip
# `events` is a group of its own, and `failures` prints more than a table.
COMMANDS = tuple(
    list_command(kind) for kind in LISTS if len(kind.words) == 1 and kind not in (EVENTS, FAILURES)
)
