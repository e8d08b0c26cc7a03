"""What each error means, in words for people: the machine's own word stays beside them."""

_WORDS = {
    "bot_not_found": "Recall does not know this bot, so it may be another region's or workspace's",
    "network": "Recall could not be reached",
    "timeout": "Recall did not answer in time",
    "unreadable": "Recall's answer could not be read",
    "wrong_body": "Recall answered with another bot",
    "too_large": "Recall's answer was too large",
    "held": "the rate limit lets no call through now",
    "cut": "the time of one drain was over",
    "internal": "an error of our own, told in the workers' logs",
    "crash_loop": "every worker that tried it died",
    "unusable_meeting": "Recall lists a meeting that cannot be read",
    "http_401": "Recall refuses the API key",
    "http_402": "the account has no credit left",
    "http_403": "a firewall before Recall refuses us",
    "http_409": "Recall was busy",
    "http_425": "Recall was busy",
    "http_429": "Recall's rate limit was reached",
}
_BY_FIRST_DIGIT = {
    "http_3": "Recall redirects, which is not followed",
    "http_4": "Recall refuses the request",
    "http_5": "Recall has an error of its own",
}


def describe_error(error: str) -> str:
    """Return `why it is (the error as it is kept)`; an unknown error stands for itself."""
    reason, _, place = error.partition(": ")
    words = _WORDS.get(reason) or _BY_FIRST_DIGIT.get(reason[:6])
    # The same status means another thing where a calendar user's token was shown, not our key.
    if reason in ("http_401", "http_403") and place.startswith("calendar/meetings"):
        words = "Recall refuses the calendar user's token"
    return f"{words} ({error})" if words else error
