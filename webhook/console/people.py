"""A person in the console: what is stored about an address, its export, and its erasing."""

from collections import Counter
from dataclasses import asdict
from urllib.parse import urlencode

from flask import Response, request

from models.core.sanitize import email_address
from models.settings.environment import Settings
from webhook.console.rendering import Renderer
from webhook.services.people import People, PersonQuery
from webhook.web.auth import current_caller
from webhook.web.params import read_query
from webhook.web.signing import DONE, Signer
from webhook.web.validation import BadParameterError, checked

RESULT_SECONDS = 3600
# The platform's router waits for 30 s; what is left is erased by sending the form again.
ERASE_SECONDS = 15.0


class PeoplePages:
    """Shows what is stored about a person; with a write token, exports and erases it."""

    def __init__(self, settings: Settings, people: People, renderer: Renderer) -> None:
        self._people = people
        self._renderer = renderer
        self._results = Signer(settings, DONE)

    def person(self) -> Response:
        """Show how much is stored about the address in the URL, or ask for one."""
        if not request.args.get("email", "").strip():
            return self._page("")
        try:
            return self._page(read_query(request, PersonQuery).email)
        except BadParameterError as error:
            return self._renderer.error(400, str(error))

    def erase(self) -> Response:
        """Erase what is stored about an address, once it was typed again."""
        try:
            email = _email()
        except BadParameterError as error:
            return self._renderer.error(400, str(error))
        if email_address(request.form.get("typed", "")) != email:
            return self._page(email, 400, wrong="Type the address to erase what is stored.")
        found, _ = self._people.find(email)
        done = self._people.erase_for(ERASE_SECONDS, found, current_caller().name)
        counts = Counter(done.guest)
        for erased in done.users.values():
            counts.update(asdict(erased))
        result = ["person", len(done.users), done.is_complete, +counts]
        where = f"/console/people/done?{urlencode({'result': self._results.sign(result)})}"
        return Response("", 303, {"Location": where})

    def done(self) -> Response:
        """Show what was erased, without the address."""
        kept = self._results.read(request.args.get("result", ""), RESULT_SECONDS)
        if not isinstance(kept, list) or kept[:1] != ["person"]:
            return self._renderer.error(400, "Unknown or expired result.")
        _, users, is_complete, counts = kept
        return self._renderer.page(
            "person_erased.html", "people", users=users, is_complete=is_complete, counts=counts
        )

    def export(self) -> Response:
        """Send everything that is stored about an address as one JSON file."""
        try:
            found, rows = self._people.find(_email())
        except BadParameterError as error:
            return self._renderer.error(400, str(error))
        if not rows:
            return self._renderer.error(404, "Nothing is stored about this address.")
        text = self._people.export(found, current_caller().name)
        response = Response(text, mimetype="application/json")
        response.headers["Content-Disposition"] = 'attachment; filename="person.json"'
        return response

    def _page(self, email: str, status: int = 200, wrong: str | None = None) -> Response:
        found, rows = self._people.find(email) if email else (None, [])
        query = urlencode({"email": email})
        return self._renderer.page(
            "people.html",
            "people",
            status,
            email=email,
            external_ids=found.external_ids if found else [],
            rows=rows,
            wrong=wrong,
            twins=[("JSON", f"/api/people?{query}"), ("CSV", f"/api/people?{query}&format=csv")],
        )


def _email() -> str:
    return checked(PersonQuery, {"email": request.form.get("email", "")}).email
