"""The calendar meeting endpoints of the fake, each scoped to one calendar user's token."""

from tests.lab.api.answers import json_answer, not_found
from tests.lab.api.pages import a_page
from tests.lab.api.render import meeting_body
from tests.lab.api.visits import InvalidError, Visit
from tests.lab.http.wire import Response
from tests.lab.world.shapes import CalendarMeeting
from tests.lab.world.world import World


class MeetingApi:
    """Retrieve, list, update and refresh calendar meetings."""

    def __init__(self, world: World) -> None:
        self._world = world

    def retrieve(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_meetings_retrieve."""
        meeting = self._own(visit)
        return not_found() if meeting is None else json_answer(meeting_body(meeting))

    def listing(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_meetings_list: a plain array."""
        after, before = visit.time("start_time_after"), visit.time("start_time_before")
        prefix = visit.parameter("ical_uid") or ""
        found = [
            meeting
            for meeting in self._world.meetings_of(visit.caller.id)
            if (meeting.ical_uid or "").startswith(prefix)
            and (after is None or meeting.start_time >= after)
            and (before is None or meeting.start_time <= before)
        ]
        if self._world.list_page_size is not None:
            return a_page(visit, found, self._world.list_page_size, meeting_body)
        return json_answer([meeting_body(meeting) for meeting in found])

    def update(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_meetings_update."""
        meeting = self._own(visit)
        if meeting is None:
            return not_found()
        value = visit.fields().get("override_should_record", meeting.override_should_record)
        if value is not None and not isinstance(value, bool):
            raise InvalidError("override_should_record", "Must be a valid boolean.")
        return json_answer(
            meeting_body(self._world.override_should_record(meeting.id, value=value))
        )

    def refresh(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_meetings_refresh_create.

        422 with no calendar connected was seen in third-party code only.
        """
        if not visit.caller.is_connected:
            return json_answer({"detail": "No calendar is connected."}, 422)
        mine = self._world.meetings_of(visit.caller.id)
        return json_answer([meeting_body(meeting) for meeting in mine])

    def _own(self, visit: Visit) -> CalendarMeeting | None:
        meeting = self._world.meetings.get(visit.item)
        if meeting is None or meeting.user_id != visit.caller.id:
            return None
        return meeting
