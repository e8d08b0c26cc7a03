"""The fake's calendar endpoints answer as the contract says."""

from collections.abc import Iterator

import pytest

from tests.lab.asking import Asking, asking
from tests.lab.recall import FakeRecall
from tests.lab.world.clock import ManualClock

MEETING_FIELDS = {
    *("id", "override_should_record", "title", "description", "will_record", "will_record_reason"),
    *("start_time", "end_time", "platform", "platform_id", "meeting_platform"),
    *("calendar_platform", "zoom_invite", "teams_invite", "meet_invite", "webex_invite"),
    *("goto_meeting_invite", "bot_id", "is_external", "is_hosted_by_me", "is_recurring"),
    *("organizer_email", "attendee_emails", "attendees", "ical_uid", "visibility"),
}
PREFERENCES = {
    *("id", "record_non_host", "record_recurring", "record_external", "record_internal"),
    *("record_confirmed", "record_only_host", "bot_name"),
}
STRANGE_ID = "5d0c6f9e-77aa-4b6e-9d26-0c6ad2b3a001"


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still until a test moves it."""
    return ManualClock()


@pytest.fixture
def ask(clock: ManualClock) -> Iterator[Asking]:
    """Yield a client of a fresh fake."""
    with FakeRecall(seed=5, clock=clock, page_size=3) as recall, asking(recall) as client:
        yield client


def test_a_meeting_has_every_field_and_one_invite_at_most(ask: Asking) -> None:
    """Retrieve Calendar Meeting lists all invites and fills the one of its platform."""
    user = ask.recall.build.user()
    meeting = ask.recall.build.meeting(user, meeting_platform="zoom")
    token = ask.token(user.external_id or "")
    body = ask.as_user(token, "GET", f"calendar/meetings/{meeting.id}/").json()
    assert set(body) == MEETING_FIELDS
    filled = {name for name, value in body.items() if name.endswith("_invite") and value}
    assert filled == {"zoom_invite"}
    assert body["platform"] == "google_calendar"
    assert body["calendar_platform"] == "google"
    assert body["override_should_record"] is None
    assert body["attendees"][0]["name"] is None


def test_a_calendar_user_lists_both_platforms(ask: Asking) -> None:
    """The unconnected platform is listed with nulls."""
    user = ask.recall.build.user(platform="microsoft")
    body = ask.as_user(ask.token(user.external_id or ""), "GET", "calendar/user/").json()
    google, microsoft = body["connections"]
    assert google == {"platform": "google", "connected": False, "email": None, "id": None}
    assert microsoft["connected"] is True
    assert set(body["preferences"]) == PREFERENCES


def test_authenticate_makes_the_user_it_does_not_know(ask: Asking) -> None:
    """A mistyped external_id silently becomes a new, empty user."""
    token = ask.token("never-seen")
    body = ask.as_user(token, "GET", "calendar/user/").json()
    assert body["external_id"] == "never-seen"
    assert ask.token("never-seen") != token
    assert len(ask.recall.world.users) == 1


@pytest.mark.parametrize("body", [{}, {"user_id": ""}, {"user_id": " "}, {"user_id": None}, []])
def test_authenticate_refuses_a_missing_name(ask: Asking, body: object) -> None:
    """A missing, blank or odd user_id is 400 with the field's name."""
    answer = ask.post("calendar/authenticate/", json=body)
    assert answer.status_code == 400
    assert not ask.recall.world.users


def test_a_token_of_one_user_cannot_read_anothers_meeting(ask: Asking) -> None:
    """Another user's copy is 404, read or written."""
    ines, leif = ask.recall.build.user(), ask.recall.build.user()
    meeting = ask.recall.build.meeting(ines)
    token = ask.token(leif.external_id or "")
    path = f"calendar/meetings/{meeting.id}/"
    assert ask.as_user(token, "GET", path).status_code == 404
    assert ask.as_user(token, "PATCH", path, json={}).status_code == 404
    assert ask.as_user(token, "GET", "calendar/meetings/").json() == []


def test_a_token_lives_24_hours_of_the_labs_clock(ask: Asking, clock: ManualClock) -> None:
    """A second before the end it works, at the end it is 401."""
    token = ask.token("ines")
    clock.advance(24 * 3600 - 1)
    assert ask.as_user(token, "GET", "calendar/user/").status_code == 200
    clock.advance(1)
    assert ask.as_user(token, "GET", "calendar/user/").status_code == 401


def test_a_revoked_token_is_401_and_a_new_one_works(ask: Asking) -> None:
    """Revoking spoils what was issued, not what comes after."""
    token = ask.token("ines")
    assert ask.recall.world.revoke_tokens("ines") == 1
    assert ask.as_user(token, "GET", "calendar/user/").status_code == 401
    assert ask.as_user(ask.token("ines"), "GET", "calendar/user/").status_code == 200


def test_meetings_are_found_by_uid_prefix_and_time(ask: Asking) -> None:
    """The list is a plain array; ical_uid matches as a case-sensitive prefix."""
    user = ask.recall.build.user()
    meeting = ask.recall.build.meeting(user)
    token, uid = ask.token(user.external_id or ""), meeting.ical_uid or ""
    start = meeting.start_time.isoformat()

    def found(**query: str) -> int:
        answer = ask.as_user(token, "GET", "calendar/meetings/", params=query).json()
        assert isinstance(answer, list)
        return len(answer)

    assert found(ical_uid=uid[:5]) == found(start_time_after=start) == found(unknown="x") == 1
    assert found(ical_uid=uid.upper()) == found(start_time_before="2001-01-01T00:00:00Z") == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_override_is_stored_by_put_and_patch(ask: Asking, method: str) -> None:
    """Both verbs set override_should_record; anything but true, false or null is 400."""
    user = ask.recall.build.user()
    meeting = ask.recall.build.meeting(user)
    token, path = ask.token(user.external_id or ""), f"calendar/meetings/{meeting.id}/"
    body = ask.as_user(token, method, path, json={"override_should_record": False}).json()
    assert body["override_should_record"] is False
    answer = ask.as_user(token, method, path, json={"override_should_record": "perhaps"})
    assert answer.status_code == 400


def test_refresh_is_422_without_a_calendar(ask: Asking) -> None:
    """A user with nothing connected has nothing to refresh."""
    token = ask.token("nobody yet")
    assert ask.as_user(token, "POST", "calendar/meetings/refresh/").status_code == 422


def test_a_users_life_over_http(ask: Asking) -> None:
    """Preferences change, one platform disconnects, the user is deleted with 204."""
    user = ask.recall.build.user()
    token = ask.token(user.external_id or "")
    wanted = {"preferences": {"record_recurring": True, "bot_name": "Minutes"}}
    body = ask.as_user(token, "PATCH", "calendar/user/", json=wanted).json()
    assert body["preferences"]["bot_name"] == "Minutes"
    path = "calendar/user/disconnect/"
    assert ask.as_user(token, "POST", path, json={"platform": "yahoo"}).status_code == 400
    body = ask.as_user(token, "POST", path, json={"platform": "google"}).json()
    assert [connection["connected"] for connection in body["connections"]] == [False, False]
    gone = ask.as_user(token, "DELETE", "calendar/user/")
    assert (gone.status_code, gone.content) == (204, b"")
    assert ask.as_user(token, "GET", "calendar/user/").status_code == 401


def test_calendar_users_are_listed_by_email(ask: Asking) -> None:
    """The list is a plain array, an envelope with paginate=true."""
    user = ask.recall.build.user()
    ask.recall.build.user()
    email = user.connection("google").email or ""
    (found,) = ask.get("calendar/users/", params={"email": email}).json()
    assert found["id"] == user.id
    page = ask.get("calendar/users/", params={"paginate": "true"}).json()
    assert set(page) == {"next", "previous", "results"}


def test_an_access_token_needs_a_connection(ask: Asking) -> None:
    """The provider's token is there for a connection's id, 400 with code and message otherwise."""
    connection = ask.recall.build.user().connection("google")
    headers = {"Authorization": ask.recall.api_key}
    url = "/api/v2/calendar-accounts/{}/access_token/"
    assert "access_token" in ask.http.get(url.format(connection.id), headers=headers).json()
    body = ask.http.get(url.format(STRANGE_ID), headers=headers).json()
    assert body["code"] == "no_oauth_credentials"
