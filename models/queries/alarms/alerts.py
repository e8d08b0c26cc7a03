"""The table of alarms, used by metrics, status, doctor, console and API.

An alarm added here appears in all of them. Tests require its row in the documentation and a way to
trigger it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from models.queries.alarms import alert_checks, bot_ends, given_up
from models.queries.alarms.alert_checks import AlarmContext
from models.queries.service_status import Overview

# Recall disables an endpoint after five days of nothing but failures
# (https://docs.recall.ai/docs/bot-status-change-events).
DISABLE_DAYS = 5


@dataclass(frozen=True, slots=True)
class Alarm:
    """An active alarm: its name, its title, what is wrong, and what to do."""

    name: str
    title: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class AlarmKind:
    """One entry of the table: a name, a title, what to do, and the check."""

    name: str
    title: str
    remedy: str
    check: Callable[[AlarmContext], str | None]

    def evaluate(self, context: AlarmContext) -> Alarm | None:
        """Return the alarm if it is active, else None."""
        problem = self.check(context)
        return None if problem is None else Alarm(self.name, self.title, problem, self.remedy)


# Shown in this order, the worst first.
ALARMS = (
    AlarmKind(
        "all_refused",
        "All webhooks are rejected",
        "compare RECALL_WEBHOOK_SECRETS with Recall's dashboard, and check this machine's clock;"
        " then run `recall-links reverify` to accept what was rejected."
        f" Recall disables an endpoint after {DISABLE_DAYS} days of nothing but failures",
        alert_checks.all_refused,
    ),
    AlarmKind(
        "silence",
        "No webhooks arrive",
        "check the endpoint in Recall's dashboard: after"
        f" {DISABLE_DAYS} days of failures it is disabled and must be enabled again by hand",
        alert_checks.silence,
    ),
    AlarmKind(
        "circuit_open",
        "Recall refuses all requests",
        "check RECALL_API_KEY, RECALL_REGION and the account's credit; `recall-links doctor` helps",
        alert_checks.circuit_open,
    ),
    AlarmKind(
        "no_worker",
        "No worker is running",
        "start one: `python -m workers`, or scale the worker process up",
        alert_checks.no_worker,
    ),
    AlarmKind(
        "stalled",
        "Work is stuck",
        "check the workers' logs; add workers unless the rate limit is the bottleneck",
        alert_checks.stalled,
    ),
    AlarmKind(
        "webhooks_missed",
        "Webhooks were missed",
        "check the endpoint's failures and event types in Recall's dashboard. The gaps have been"
        " filled; this clears after a reconcile that finds none; /console/reconciles has the runs",
        alert_checks.webhooks_missed,
    ),
    AlarmKind(
        "not_recorded",
        "Fewer bots than usual record",
        "`recall-links bots --recorded false` lists them with the reason;"
        " docs/troubleshooting.md says what to do about each."
        " If nobody lets the bots in, tell the hosts of the meetings",
        bot_ends.not_recorded,
    ),
    AlarmKind(
        "failures",
        "Many bots were given up",
        "see /console/failures or `recall-links failures`: each cause with its remedy."
        " `recall-links doctor` checks key and region. Once the cause is gone,"
        " `recall-links relink --link-state failed` tries them again",
        given_up.failures,
    ),
    AlarmKind(
        "will_record_without_bot",
        "Meetings without a bot",
        "`recall-links calendar check EXTERNAL_ID` lists them; contact Recall's support",
        alert_checks.will_record_without_bot,
    ),
    AlarmKind(
        "meetings_missed",
        "Meetings were not recorded",
        "see them in /console/missed?unresolved=1, or by `recall-links missed --unresolved`, each"
        " with its reason",
        alert_checks.meetings_missed,
    ),
    AlarmKind(
        "events_failing",
        "Events are not delivered",
        "check the receiver; `recall-links events list --state failed` lists what was given up",
        alert_checks.events_failing,
    ),
)


def alarms(connection: Connection, overview: Overview) -> list[Alarm]:
    """Return the active alarms, the worst first."""
    context = AlarmContext(connection, overview)
    return [alarm for kind in ALARMS if (alarm := kind.evaluate(context)) is not None]
