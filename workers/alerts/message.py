"""What is sent: the text for a Slack-compatible webhook, and the address of a heartbeat."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from models.core.humanize import duration
from workers.alerts.episodes import News

TEST = "Test message of `recall-links doctor`: alarms will be reported here."


def message(news: Sequence[News], public_url: str | None) -> dict[str, str]:
    """Return the body of one message that reports all of this."""
    return _body("\n\n".join(_words(one) for one in news), public_url)


def sample_message(public_url: str | None) -> dict[str, str]:
    """Return the body of a message that only shows that messages arrive."""
    return _body(TEST, public_url)


def _body(text: str, public_url: str | None) -> dict[str, str]:
    # Slack takes <…> for links and mentions: the words of an alarm may quote others.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    link = f"\n{public_url}/console/" if public_url else ""
    return {"text": escaped + link}


def _words(news: News) -> str:
    episode, alarm = news.episode, news.episode.alarm
    name = f"{alarm.title} (`{alarm.name}`)"
    lasted = duration((episode.seen_at - episode.since).total_seconds())
    if news.kind == "ended":
        unreported = "" if episode.reported_at else " Its start could not be reported."
        return f"Alarm ended: {name}. It was active for {lasted}.{unreported}"
    head = f"Alarm: {name}"
    if news.kind == "continues":
        head = f"Alarm still active after {lasted}: {name}"
    return f"{head}\n{alarm.text[:1].upper()}{alarm.text[1:]}.\nWhat to do: {alarm.remedy}."


def heartbeat_url(url: str, active: Sequence[str]) -> str:
    """Return the address to call: the URL itself, or its /fail with the alarms' names."""
    if not active:
        return url
    parts = urlsplit(url)
    names = f"alarms={','.join(active)}"
    query = f"{parts.query}&{names}" if parts.query else names
    path = f"{parts.path.rstrip('/')}/fail"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
