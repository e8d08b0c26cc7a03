"""Retrying bots from the console: a preview, the change, and its result."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from werkzeug.datastructures import MultiDict

from models.queries.audit_log import AuditFilter, audits
from models.queries.failures.relink_batches import batch_result
from models.queries.filters import BotFilter
from models.settings.environment import Settings
from models.tables.base import database_time
from webhook.console.rendering import Renderer
from webhook.services.reader import Reader
from webhook.services.relink import Relinked, RelinkRequest, RelinkService
from webhook.web.auth import current_caller
from webhook.web.params import is_given
from webhook.web.signing import DONE, Signer
from webhook.web.validation import BadParameterError, batch_number, checked

# How long the result page stays available.
RESULT_SECONDS = 3600
RECENT = 5
_NOT_FILTERS = {"form_token", "confirm"}


class Relinking:
    """Three pages: the preview, the change, its result."""

    def __init__(
        self, settings: Settings, reader: Reader, relink_service: RelinkService, renderer: Renderer
    ) -> None:
        self._reader = reader
        self._relink_service = relink_service
        self._renderer = renderer
        self._results = Signer(settings, DONE)

    def preview(self) -> Response:
        """Show which bots match the filter in the URL; GET changes nothing."""
        return self._preview(request.args)

    def relink(self) -> Response:
        """Preview the selection of a form; retry it once that is confirmed."""
        if "confirm" not in request.form:
            return self._preview(request.form)
        try:
            done = self._do(_wanted(request.form))
        except BadParameterError as error:
            return self._renderer.error(400, str(error))
        result = self._results.sign([done.relinked, done.over_seconds, done.is_more, done.batch])
        # Redirect, so that a reload shows the result again and changes nothing.
        where = f"/console/relink/done?{urlencode({'result': result})}"
        return Response("", 303, {"Location": where})

    def done(self) -> Response:
        """Show what was queued for retry, with the latest rows of the audit log."""
        kept = self._results.read(request.args.get("result", ""), RESULT_SECONDS)
        if not isinstance(kept, list):
            return self._renderer.error(400, "Unknown or expired result.")

        def read(connection: Any) -> tuple[Any, ...]:
            page = audits(AuditFilter(action="relink")).page(connection, RECENT)
            return page.rows, database_time(connection)

        rows, now = self._reader.read(read)
        return self._renderer.page(
            "relinked.html", "audit", done=Relinked(*kept), rows=rows, now=now
        )

    def batch(self, number: str) -> Response:
        """Show what came of one bulk retry."""

        def read(connection: Any) -> tuple[Any, ...]:
            return batch_result(connection, batch_number(number)), database_time(connection)

        try:
            found, now = self._reader.read(read)
        except BadParameterError as error:
            return self._renderer.error(400, str(error))
        if found is None:
            return self._renderer.error(404, "There is no batch of this number.")
        twins = [("JSON", f"/api/failures/batches/{found.batch}")]
        return self._renderer.page(
            "relink_batch.html", "failures", found=found, now=now, twins=twins
        )

    def _preview(self, given: MultiDict[str, str]) -> Response:
        try:
            wanted = _wanted(given)
            found = self._relink_service.preview(wanted)
        except BadParameterError as error:
            detail = "Select some bots first." if error.parameter == "body" else str(error)
            return self._renderer.error(400, detail)
        now = self._reader.read(database_time)
        asked = [(name, _fixed(wanted, name, value)) for name, value in _given(given)]
        return self._renderer.page("relink.html", "bots", found=found, now=now, asked=asked)

    def _do(self, wanted: RelinkRequest) -> Relinked:
        actor = current_caller().name
        filters = wanted.model_dump(include=set(BotFilter.model_fields), exclude_defaults=True)
        if filters or wanted.bot_ids is None or len(wanted.bot_ids) > 1:
            return self._relink_service.many(wanted, actor)
        # The audit row then names the bot, so that it can be found by its id.
        is_done = self._relink_service.one(wanted.bot_ids[0], actor)
        return Relinked(int(is_done), 0.0, is_more=False)


def _given(given: MultiDict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in given.items(multi=True):
        if name not in _NOT_FILTERS and is_given(name, value):
            yield name, value


def _fixed(wanted: RelinkRequest, name: str, value: str) -> str:
    # What is confirmed is what was shown: a relative time would have moved on.
    # A field of the metadata is no attribute.
    found = getattr(wanted, name, value)
    return found.isoformat() if isinstance(found, datetime) else value


def _wanted(given: MultiDict[str, str]) -> RelinkRequest:
    values: dict[str, Any] = dict(_given(given))
    if "bot_ids" in values:
        values["bot_ids"] = given.getlist("bot_ids")
    return checked(RelinkRequest, values)
