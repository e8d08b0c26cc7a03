"""What to do about each reason for which a bot is not linked."""

_AGAIN = "these are tried again by themselves; nothing is to do unless this goes on for an hour"

_REMEDIES = {
    "bot_not_found": "run `recall-links doctor`: it checks RECALL_REGION and RECALL_API_KEY."
    " If both are right, these bots were deleted at Recall, and a retry will not find them",
    "network": "run `recall-links doctor` on a worker, and see Recall's status page;"
    " retry once Recall can be reached",
    "timeout": "see Recall's status page; retry once it answers in time",
    "unreadable": "check RECALL_API_BASE_URL and whatever proxy is on the way: the example's"
    " attempts show the answer. Then retry",
    "wrong_body": "check RECALL_API_BASE_URL and whatever proxy is on the way: it may have cached"
    " another bot's answer. Then retry",
    "too_large": "report the example to Recall's support: no bot should need an answer this large",
    "held": f"{_AGAIN}; then check the rate limits on the overview",
    "cut": f"{_AGAIN}; then add workers",
    "internal": "find the example's id in the workers' logs, and report the error there;"
    " retry once a release has fixed it",
    "crash_loop": "find the example's id in the workers' logs, and check their memory;"
    " retry once the cause is gone",
    "unusable_meeting": "report the example with its attempts: this release cannot read one of its"
    " meetings. Retry after the next release",
    "http_401": "check RECALL_API_KEY, and that RECALL_REGION is the key's; then retry",
    "http_402": "add credit to the account at Recall; then retry",
    "http_403": "ask Recall's support why its firewall blocks the workers' address; then retry",
    "http_409": f"{_AGAIN}; then see Recall's status page",
    "http_425": f"{_AGAIN}; then see Recall's status page",
    "http_429": f"{_AGAIN}; then see whether something else uses the account's rate limits",
    "unknown": "no error is stored. If these are pending, they wait for their first look-up: check"
    " that workers run, and the overview's alarms",
}
_BY_FIRST_DIGIT = {
    "http_3": "check RECALL_API_BASE_URL and RECALL_REGION: redirects are not followed. Then retry",
    "http_4": "open the example: its attempts show what Recall says is wrong with the request",
    "http_5": "see Recall's status page; retry once its errors are over",
}
FALLBACK = "open the example: its attempts show each call to Recall, and the answer"


def remedy_of(reason: str) -> str:
    """Return what to do; a reason without words of its own has the fallback."""
    return _REMEDIES.get(reason) or _BY_FIRST_DIGIT.get(reason[:6]) or FALLBACK
