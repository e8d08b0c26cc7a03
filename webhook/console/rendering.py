"""Renders the console's pages: Jinja filters, response headers and the error page."""

import json
import re
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, make_response, render_template, request
from jinja2 import StrictUndefined
from markupsafe import Markup, escape

from models.core.bot_outcome import EndKind, end_kind
from models.core.humanize import duration
from models.core.sub_codes import describe_sub_code
from models.queries.calendars.nightly_check import describe_nothing
from models.queries.failures.error_messages import describe_error
from models.queries.reconcile import describe_reconcile
from models.queries.rows import BotRow, LinkRow
from models.queries.service_status import MOST_COUNTED
from webhook.console.charts import TONES
from webhook.web.auth import Access
from webhook.web.labels import has_label, label

# Nothing from other sites and nothing inline: even text that escapes the escaping runs nothing.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_STATE_TONES = TONES | {
    "found": "good",
    # What came of it has a chip of its own: a bot that only waited is done as well.
    "done": "idle",
    "owed": "warn",
    "gone": "idle",
    "forbidden": "bad",
    "unfetchable": "bad",
    "running": "wait",
    "interrupted": "warn",
    "complete": "good",
    "incomplete": "warn",
    "not_believed": "bad",
    "read": "idle",
    "write": "wait",
}
_ADDRESS = re.compile(r"/console/[\w/?=&;-]+")
_NAVIGATION = (
    ("overview", "/console/", "Overview"),
    ("links", "/console/links", "Links"),
    ("unlinked", "/console/bots?link_state=failing", "Not linked"),
    ("failures", "/console/failures", "Failures"),
    ("bots", "/console/bots", "Bots"),
    ("recordings", "/console/recordings", "Recordings"),
    ("deliveries", "/console/deliveries", "Deliveries"),
    ("rejections", "/console/rejections", "Rejections"),
    ("missed", "/console/missed", "Missed"),
    ("calendar", "/console/calendar/", "Calendars"),
    ("people", "/console/people", "People"),
    ("events", "/console/events", "Events"),
    ("audit", "/console/audit", "Audit"),
)


class Renderer:
    """Renders pages; each gets the caller, the navigation and a form token."""

    def __init__(self, app: Flask, access: Access) -> None:
        self._access = access
        # A misspelt name in a template raises an error instead of leaving a gap.
        app.jinja_options = {
            "undefined": StrictUndefined,
            "trim_blocks": True,
            "lstrip_blocks": True,
        }
        app.jinja_env.filters.update(
            stamp=stamp,
            ago=ago,
            tone=tone,
            label=label,
            has_label=has_label,
            status_tone=status_tone,
            end_kind=end_of,
            sub_code_words=describe_sub_code,
            error_words=describe_error,
            capped=capped,
            words=duration,
            linked=linked,
            missed=describe_reconcile,
            found_nothing=describe_nothing,
            # Not Jinja's tojson: it is made for scripts and escapes every quote.
            compact=partial(json.dumps, ensure_ascii=False),
        )

    def page(self, template: str, here: str, status: int = 200, **values: Any) -> Response:
        """Render a page; `here` is its place in the navigation."""
        caller = g.get("caller")
        form_token = self._access.form_token(request) if caller and caller.by_cookie else ""
        shared = {"here": here, "navigation": _NAVIGATION, "caller": caller}
        html = render_template(f"console/{template}", form_token=form_token, **shared, **values)
        return make_response(html, status)

    def error(self, status: int, detail: str) -> Response:
        """Render an error page."""
        title = HTTPStatus(status).phrase
        response = self.page("error.html", "", status, title=title, detail=detail)
        if status == 503:
            response.headers["Retry-After"] = "5"
        return response


def add_headers(response: Response) -> Response:
    """Add the console's headers to a response."""
    response.headers.update(HEADERS)
    return response


def linked(text: str) -> Markup:
    """Return a text of ours with the console's addresses in it as links."""
    return Markup(_ADDRESS.sub(r'<a href="\g<0>">\g<0></a>', str(escape(text))))  # noqa: S704


def stamp(moment: datetime) -> str:
    """Format a UTC time to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def ago(moment: datetime, now: datetime) -> str:
    """Return the distance between a time and now in words."""
    seconds = (now - moment).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def tone(state: str | None) -> str:
    """Return the colour of a state; an unknown one is idle."""
    return _STATE_TONES.get(state or "", "idle")


def end_of(row: BotRow | LinkRow) -> EndKind | None:
    """Return how a row's bot ended; None while its call goes on."""
    return end_kind(row.bot_status, row.ended_sub_code, recorded=row.recorded)


def status_tone(status: int | None) -> str:
    """Return the colour of an HTTP status from Recall; None means no answer."""
    if status is None:
        return "bad"
    return "good" if status < 300 else "warn" if status == 429 else "bad"


def capped(count: int) -> str:
    """Format a count with thousands separators; counting stops at 10,000."""
    return f"{count:,}+" if count >= MOST_COUNTED else f"{count:,}"
