"""Small charts for the overview, as numbers that an SVG is made of; no script draws them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.queries.service_status import Hour
from models.tables.hourly_count import LATENCY_BUCKETS

HEIGHT = 64
BAR, GAP = 10, 2
WIDTH = 200

# What a label is drawn as: a colour from the stylesheet, since codes come from outside.
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
    """One rectangle, in the chart's own units; `words` say what it stands for."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """One label of a chart, and how often it happened in all."""

    label: str
    tone: str
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of a day, an hour each, with what they add up to."""

    name: str
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
    """How long from a bot's first webhook to its first link: a bar a bucket, and two quantiles."""

    bars: list[tuple[str, int, float]]
    total: int
    half: str | None
    most: str | None


def chart(
    name: str,
    hours: Sequence[Hour],
    counts_of: Callable[[Hour], Mapping[str, int]],
    tone: str = "idle",
) -> Chart:
    """Stack what each hour counted, by label; `tone` is for labels that no colour is known of."""
    totals = [sum(counts_of(hour).values()) for hour in hours]
    peak = max(totals, default=0)
    series = [
        Series(label, TONES.get(label, tone), sum(counts_of(hour).get(label, 0) for hour in hours))
        for label in _labels(counts_of(hour) for hour in hours)
    ]
    bars = [
        bar
        for number, hour in enumerate(hours)
        for bar in _stack(number, f"{hour.hour:%H:%M}", counts_of(hour), series, peak)
    ]
    words = [f"{hour.hour:%H:%M}" for hour in hours]
    return Chart(name, bars, series, list(zip(words, totals, strict=True)), sum(totals), peak)


def latency(counts: Mapping[str, int]) -> Latency:
    """Draw the buckets, and say within which the half and 95 % of the bots were linked."""
    names = [*map(str, LATENCY_BUCKETS), "+Inf"]
    found = [counts.get(name, 0) for name in names]
    total, most = sum(found), max(found, default=0)
    words = [f"≤ {name} s" for name in names[:-1]] + [f"> {names[-2]} s"]
    bars = [
        (word, count, round(WIDTH * count / most, 1) if most else 0.0)
        for word, count in zip(words, found, strict=True)
    ]
    return Latency(bars, total, _quantile(words, found, 0.5), _quantile(words, found, 0.95))


def _labels(counted: Iterable[Mapping[str, int]]) -> list[str]:
    found = {label for counts in counted for label in counts}
    # In one order at every load, the good ones at the bottom: a chart is compared with itself.
    known = [label for label in TONES if label in found]
    return known + sorted(found - set(known))


def _stack(
    number: int, words: str, counts: Mapping[str, int], series: Sequence[Series], peak: int
) -> Iterable[Bar]:
    y = float(HEIGHT)
    for one in series:
        if not (count := counts.get(one.label, 0)):
            continue
        # One among thousands is still a pixel: it is what the chart is looked at for.
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
