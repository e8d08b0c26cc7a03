"""Ids and per-platform invite details, drawn from a seed."""

import random
import string
import uuid


def make_id(rng: random.Random) -> str:
    """Return a random UUID as text."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def recording_id(bot_id: str) -> str:
    """Return the id of a bot's recording, the same in every process."""
    return make_id(random.Random(f"recording {bot_id}"))


def artifact_id(recording: str, kind: str) -> str:
    """Return the id of what was made of a recording, the same in body and webhook."""
    return make_id(random.Random(f"{kind} {recording}"))


def make_invite(platform: str | None, rng: random.Random) -> dict[str, str | None] | None:
    """Return the invite of that meeting platform (https://docs.recall.ai/docs/meeting-urls)."""
    match platform:
        case "zoom":
            return {"meeting_id": _digits(rng, 11), "meeting_password": _letters(rng, 6)}
        case "google_meet":
            return {"meeting_id": "-".join(_letters(rng, n) for n in (3, 4, 3))}
        case "microsoft_teams":
            return _teams(rng)
        case "webex":
            return {"meeting_subdomain": "lab", "meeting_mtid": "m" + _digits(rng, 16)}
        case "goto_meeting":
            return {"meeting_id": _digits(rng, 9)}
    return None


def _teams(rng: random.Random) -> dict[str, str | None]:
    return {
        "organizer_id": make_id(rng),
        "tenant_id": make_id(rng),
        "message_id": "0",
        "thread_id": f"19:meeting_{_letters(rng, 24)}@thread.v2",
    }


def _digits(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.digits, k=length))


def _letters(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=length))
