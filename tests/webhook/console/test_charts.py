"""The overview's charts as numbers: what is drawn, in which order, and what no bar may hide."""

from datetime import UTC, datetime, timedelta

from models.queries.service_status import Hour
from webhook.console.charts import BAR, GAP, HEIGHT, WIDTH, chart, latency

START = datetime(2026, 11, 20, tzinfo=UTC)


def hours(*counts: dict[str, int]) -> list[Hour]:
    """An hour for each count of deliveries."""
    return [Hour(START + timedelta(hours=n), deliveries=one) for n, one in enumerate(counts)]


def test_the_fullest_hour_is_as_high_as_the_chart() -> None:
    """And the others in proportion, an hour beside the other."""
    found = chart(
        "Deliveries", hours({"accepted": 5}, {}, {"accepted": 10}), lambda h: h.deliveries
    )
    assert [(bar.x, bar.y, bar.height) for bar in found.bars] == [
        (0, HEIGHT / 2, HEIGHT / 2),
        (2 * (BAR + GAP), 0, HEIGHT),
    ]
    assert (found.total, found.peak, found.width) == (15, 10, 3 * (BAR + GAP))
    assert found.hours == [("00:00", 5), ("01:00", 0), ("02:00", 10)]


def test_labels_are_stacked_the_good_ones_below() -> None:
    """In one order at every load, whatever the database gave first; an unknown one is on top."""
    counts = {"odd": 1, "malformed": 1, "ignored": 1, "accepted": 1}
    found = chart("Deliveries", hours(counts), lambda h: h.deliveries)
    assert [one.label for one in found.series] == ["accepted", "ignored", "malformed", "odd"]
    assert [bar.tone for bar in found.bars] == ["good", "idle", "bad", "idle"]
    assert [bar.y for bar in found.bars] == [48, 32, 16, 0]


def test_one_among_ten_thousand_is_still_seen() -> None:
    """It is what the chart is looked at for."""
    found = chart("Deliveries", hours({"accepted": 10_000, "malformed": 1}), lambda h: h.deliveries)
    assert found.bars[1].height == 1
    assert found.bars[1].y >= 0
    assert found.bars[1].words == "00:00 malformed: 1"


def test_a_day_of_nothing_is_an_empty_chart() -> None:
    """No division by nothing."""
    found = chart("Deliveries", hours({}, {}), lambda h: h.deliveries)
    assert (found.bars, found.series, found.total, found.peak) == ([], [], 0, 0)
    quiet = latency({})
    assert (quiet.total, quiet.median, quiet.p95) == (0, None, None)
    assert {width for _, _, width in quiet.bars} == {0.0}


def test_latency_tells_of_the_half_and_of_nearly_all() -> None:
    """Each as the bucket that holds it; the last one has no end."""
    found = latency({"0.5": 60, "1": 34, "30": 5, "+Inf": 1})
    assert (found.total, found.median, found.p95) == (100, "≤ 0.5 s", "≤ 30 s")
    assert found.bars[1] == ("≤ 0.5 s", 60, WIDTH)
    assert found.bars[-1][:2] == ("> 900 s", 1)
    assert latency({"+Inf": 1}).median == "> 900 s"
