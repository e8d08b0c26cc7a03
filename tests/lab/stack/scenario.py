"""The demo's scenario: bots with a story each, and what must become of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery, duplicated, shuffled
from tests.lab.sender.events import Generation, lifecycle
from tests.lab.sender.signing import Family
from tests.lab.world.builders import Builder
from tests.lab.world.shapes import Bot
from tests.lab.world.timeline import was_recorded

DUPLICATE_SHARE = 0.2
ORDINARY = 6


@dataclass(frozen=True, slots=True)
class Story:
    """One bot of the scenario: what is special about it, and how it must end."""

    title: str
    bot: Bot
    link_state: str
    links: int
    generation: Generation = "v1.11"
    family: Family = "webhook"
    outcome: str = "done"

    @property
    def recorded(self) -> bool:
        """Whether its bot recorded anything."""
        return was_recorded(self.bot.status_changes)

    def deliveries(self) -> list[Delivery]:
        """Return the webhooks of its life, with what else a workspace sends among them."""
        events = lifecycle(self.bot, generation=self.generation, outcome=self.outcome, noise=True)
        return [Delivery.of(event, family=self.family) for event in events]


def write_stories(recall: FakeRecall) -> list[Story]:
    """Fill the fake's world and book its faults; return each bot's story."""
    build = recall.build
    return [*_ordinary(build), _shared(build), *_unlinked(build), *_faulty(recall)]


def all_deliveries(stories: Sequence[Story], rng: random.Random) -> list[Delivery]:
    """Return every story's webhooks in shuffled order, a fifth of them twice."""
    deliveries = [delivery for story in stories for delivery in story.deliveries()]
    return shuffled(duplicated(deliveries, DUPLICATE_SHARE, rng), rng)


def _one_meeting(build: Builder, outcome: str = "done") -> Bot:
    return build.bot([build.meeting(build.user())], outcome=outcome)


def _ordinary(build: Builder) -> list[Story]:
    styles: list[tuple[str, Generation, Family]] = [
        ("legacy, svix-*", "legacy", "svix"),
        ("v1.11, webhook-*", "v1.11", "webhook"),
        ("v1.11, svix-*", "v1.11", "svix"),
    ]
    return [
        Story(title, _one_meeting(build), "linked", 1, generation, family)
        for title, generation, family in (styles * ORDINARY)[:ORDINARY]
    ]


def _shared(build: Builder) -> Story:
    first, *others = (build.user() for _ in range(3))
    meeting = build.meeting(first)
    copies = [build.copy(meeting, other) for other in others]
    return Story("three calendars", build.bot([meeting, *copies]), "linked", 3)


def _unlinked(build: Builder) -> list[Story]:
    return [
        Story("no meeting", build.bot(), "no_meetings", 0),
        Story("no such meeting", _one_meeting(build, "fatal"), "linked", 1, outcome="fatal"),
        Story("never let in", _one_meeting(build, "lobby"), "linked", 1, outcome="lobby"),
    ]


def _faulty(recall: FakeRecall) -> list[Story]:
    build = recall.build
    limited, slow, refused = (_one_meeting(build) for _ in range(3))
    # Recall's 429 closes the bucket for the whole workspace: a short one keeps the demo short.
    recall.faults.add(
        Fault(path="bot/{id}", match=limited.id, times=1, status=429, headers={"Retry-After": "2"})
    )
    recall.faults.add(Fault(path="bot/{id}", match=slow.id, times=1, status=503))
    recall.faults.add(
        Fault(
            path="calendar/meetings/{id}",
            match=refused.calendar_meetings[0].id,
            times=1,
            status=401,
        )
    )
    gone = _one_meeting(build)
    recall.world.keeps_references = True
    recall.world.remove_meeting(gone.calendar_meetings[0].id)
    return [
        Story("429 once", limited, "linked", 1),
        Story("503 once", slow, "linked", 1),
        Story("token refused", refused, "linked", 1),
        Story("meeting gone", gone, "linked", 1),
        Story("refused for now", _refused_for_now(recall), "failed", 0),
    ]


def _refused_for_now(recall: FakeRecall) -> Bot:
    # Given up at once; the demo clears the faults before it serves, so that putting it back heals.
    bot = _one_meeting(recall.build)
    body = '{"detail": "The bot is being moved between workspaces."}'
    recall.faults.add(Fault(path="bot/{id}", match=bot.id, status=422, body=body))
    return bot
