"""Plain words for the statuses, reasons and preferences that Recall and the schema spell as codes.

A code that reads well by itself has no label.
"""

_LABELS = {
    # Bot statuses.
    "call_ended": "left the call",
    "done": "finished",
    "fatal": "bot failed",
    "in_call_not_recording": "in the call, not recording",
    "in_call_recording": "recording",
    "in_waiting_room": "waiting to be let in",
    "joining_call": "joining",
    # How a bot ended.
    "not_admitted": "not let in",
    "not_recorded": "nothing recorded",
    # Link states.
    "failed": "no more retries",
    "failing": "failed, partial, or pending for long",
    "no_meetings": "no calendar meeting",
    "partial": "some meetings missing",
    "pending": "not looked up yet",
    "unlinked": "every state but linked",
    # Deliveries of an event, and endpoints, spelt as a bot's link state is.
    "events.failed": "given up",
    "events.failing": "not taking events",
    "events.pending": "not delivered everywhere yet",
    # Meeting states.
    "forbidden": "access refused",
    "gone": "deleted at Recall",
    "owed": "not fetched yet",
    "unfetchable": "unavailable from Recall",
    # Outcomes of a delivery.
    "ignored": "not about a bot's status",
    "malformed": "could not be read",
    # Why a link ended.
    "calendar_gone": "calendar was removed",
    "left_calendar_meetings": "meeting left the bot",
    "user_erased": "user was erased",
    # Why a request was rejected.
    "future_timestamp": "timestamp in the future",
    "malformed_header": "malformed signature header",
    "missing_header": "missing signature header",
    "no_matching_signature": "signature matches no secret",
    "stale_timestamp": "timestamp too old",
    # Findings.
    "one_person_two_external_ids": "one person with two external ids",
    "two_bots_on_one_meeting": "two bots on one meeting",
    "will_record_without_bot": "meeting without a bot",
    # Why a meeting was missed.
    "bot_failed": "bot could not join",
    "no_bot": "no bot came",
    # How a run of reconcile stands.
    "incomplete": "the list kept changing",
    "interrupted": "stopped before its end",
    "not_believed": "Recall's list is too short",
    # Recording preferences.
    "record_confirmed": "confirmed meetings",
    "record_external": "external meetings",
    "record_internal": "internal meetings",
    "record_non_host": "meetings that others host",
    "record_only_host": "only meetings that the user hosts",
    "record_recurring": "recurring meetings",
}


def has_label(code: str | None, of: str = "") -> bool:
    """Whether a code has plain words of its own, in a list that may have its own for it."""
    return f"{of}.{code}" in _LABELS or code in _LABELS


def label(code: str, of: str = "") -> str:
    """Return the plain words of a code, those of its list first; an unknown one is its own."""
    return _LABELS.get(f"{of}.{code}", _LABELS.get(code, code))
