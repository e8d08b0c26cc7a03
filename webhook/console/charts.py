"""Small charts for the overview, as the numbers for an SVG; they need no script."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.queries.alarms.bot_ends import EndsOfDay
from models.queries.service_status import Hour
from models.tables.hourly_count import LATENCY_BUCKETS

HEIGHT = 64
BAR, GAP = 10, 2
WIDTH = 200

# The colour of a label, by its name in the style sheet; codes come from outside.
TONES = {
    "accepted": "good",
    "linked": "good",
    "recorded": "good",
    "duplicate": "wait",
    "not_admitted": "wait",
    "ignored": "idle",
    "no_meetings": "idle",
    "waiting": "wait",
    "pending": "wait",
    "partial": "warn",
    "retry": "warn",
    "not_recorded": "warn",
    "malformed": "bad",
    "failed": "bad",
    "fatal": "bad",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle in the chart's units; `words` describe it."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """One label of a chart and its total count."""

    label: str
    tone: str
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of some hours or days, with what they add up to."""

    name: str
    per: str
    span: str
    bars: list[Bar]
    series: list[Series]
    hours: list[tuple[str, int]]
    total: int
    peak: int

    @property
    def width(self) -> int:
        """The drawing's width."""
        return len(self.hours) * (BAR + GAP)


@dataclass(frozen=True, slots=True)
class Latency:
    """The time from first webhook to first link: one bar per bucket, the median and p95."""

    bars: list[tuple[str, int, float]]
    total: int
    median: str | None
    p95: str | None


def chart(
    name: str,
    hours: Sequence[Hour],
    counts_of: Callable[[Hour], Mapping[str, int]],
    tone: str = "idle",
) -> Chart:
    """Stack each hour's counts by label; `tone` is the colour of unknown labels."""
    periods = [(f"{hour.hour:%H:%M}", counts_of(hour)) for hour in hours]
    return _stacked(name, ("hour", "24 h"), periods, tone)


def chart_of_ends(days: Sequence[EndsOfDay]) -> Chart:
    """Stack how bots ended on each day."""
    periods = [(f"{day.day:%b %d}", day.ends) for day in days]
    return _stacked("Bots ended", ("day", f"{len(days)} days"), periods, "idle")


def latency(counts: Mapping[str, int]) -> Latency:
    """Draw the buckets; the median and p95 are the buckets that contain them."""
    names = [*map(str, LATENCY_BUCKETS), "+Inf"]
    found = [counts.get(name, 0) for name in names]
    total, most = sum(found), max(found, default=0)
    words = [f"≤ {name} s" for name in names[:-1]] + [f"> {names[-2]} s"]
    bars = [
        (word, count, round(WIDTH * count / most, 1) if most else 0.0)
        for word, count in zip(words, found, strict=True)
    ]
    return Latency(bars, total, _quantile(words, found, 0.5), _quantile(words, found, 0.95))


def _stacked(
    name: str,
    units: tuple[str, str],
    periods: Sequence[tuple[str, Mapping[str, int]]],
    tone: str,
) -> Chart:
    totals = [sum(counts.values()) for _, counts in periods]
    peak = max(totals, default=0)
    series = [
        Series(label, TONES.get(label, tone), sum(counts.get(label, 0) for _, counts in periods))
        for label in _labels(counts for _, counts in periods)
    ]
    bars = [
        bar
        for number, (words, counts) in enumerate(periods)
        for bar in _stack(number, words, counts, series, peak)
    ]
    shown = [(words, total) for (words, _), total in zip(periods, totals, strict=True)]
    return Chart(name, *units, bars, series, shown, sum(totals), peak)


def _labels(counted: Iterable[Mapping[str, int]]) -> list[str]:
    found = {label for counts in counted for label in counts}
    # The same order at every load, good ones at the bottom, so that charts can be compared.
    known = [label for label in TONES if label in found]
    return known + sorted(found - set(known))


def _stack(
    number: int, words: str, counts: Mapping[str, int], series: Sequence[Series], peak: int
) -> Iterable[Bar]:
    y = float(HEIGHT)
    for one in series:
        if not (count := counts.get(one.label, 0)):
            continue
        # At least one pixel, because a single failure among thousands is what people look for.
        height = max(1.0, round(HEIGHT * count / peak, 2))
        y = max(0.0, round(y - height, 2))
        said = f"{words} {one.label}: {count}"
        yield Bar(number * (BAR + GAP), y, BAR, height, one.tone, said)


def _quantile(words: Sequence[str], counts: Sequence[int], share: float) -> str | None:
    wanted, seen = share * sum(counts), 0
    for word, count in zip(words, counts, strict=True):
        seen += count
        if count and seen >= wanted:
            return word
    return None
