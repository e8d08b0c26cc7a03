"""Descriptions of the stored link errors, for people."""

DESCRIPTIONS = {
    "bot_not_found": "Recall does not know this bot; it may belong to another region or workspace",
    "network": "Recall could not be reached",
    "timeout": "Recall did not answer in time",
    "unreadable": "Recall's answer could not be read",
    "wrong_body": "Recall answered with another bot",
    "too_large": "Recall's answer was too large",
    "held": "the rate limit allows no call right now",
    "cut": "the worker's time for one run was over",
    "internal": "an internal error; see the workers' logs",
    "crash_loop": "every worker that tried it crashed",
    "unusable_meeting": "Recall lists a meeting that cannot be read",
    "http_401": "Recall refuses the API key",
    "http_402": "the account has no credit left",
    "http_403": "a firewall in front of Recall blocks us",
    "http_409": "Recall was busy",
    "http_425": "Recall was busy",
    "http_429": "Recall's rate limit was reached",
}
_BY_FIRST_DIGIT = {
    "http_3": "Recall sent a redirect, which is not followed",
    "http_4": "Recall refused the request",
    "http_5": "Recall had an internal error",
}


def describe_error(error: str) -> str:
    """Return `description (error)`; an unknown error is returned unchanged."""
    reason, _, place = error.partition(": ")
    description = DESCRIPTIONS.get(reason) or _BY_FIRST_DIGIT.get(reason[:6])
    # On calendar routes these statuses are about the user's token, not our API key.
    if reason in ("http_401", "http_403") and place.startswith("calendar/meetings"):
        description = "Recall refuses the calendar user's token"
    return f"{description} ({error})" if description else error
