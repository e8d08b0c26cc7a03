"""Detects settings that were set under another tool's name and therefore have no effect."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

# Names from Recall's guides and sample code, and from hosting platforms.
OTHER_NAMES = {
    "RECALL_API_KEY": (
        "RECALL_API_TOKEN RECALL_TOKEN RECALL_KEY RECALL_AI_API_KEY RECALLAI_API_KEY"
        " RECALL_AI_TOKEN RECALLAI_TOKEN RECALL_AI_KEY"
    ),
    "RECALL_REGION": "RECALL_AI_REGION RECALLAI_REGION RECALL_API_REGION",
    "RECALL_API_BASE_URL": (
        "RECALL_API_HOST REACT_APP_RECALL_API_HOST RECALL_BASE_URL RECALL_API_URL RECALL_URL"
        " RECALL_AI_BASE_URL RECALLAI_BASE_URL RECALLAI_API_BASE_URL"
    ),
    "RECALL_WEBHOOK_SECRETS": (
        "RECALL_WORKSPACE_VERIFICATION_SECRET RECALL_SVIX_WEBHOOK_SECRET RECALL_WEBHOOK_SECRET"
        " RECALL_VERIFICATION_SECRET RECALL_WORKSPACE_SECRET RECALL_SIGNING_SECRET"
        " RECALL_SVIX_SECRET RECALL_SECRET RECALLAI_WEBHOOK_SECRET RECALL_AI_WEBHOOK_SECRET"
        " SVIX_WEBHOOK_SECRET SVIX_SECRET WEBHOOK_SECRET WORKSPACE_VERIFICATION_SECRET"
    ),
    "DATABASE_URL": "POSTGRES_URL POSTGRESQL_URL DATABASE_PRIVATE_URL",
    "REDIS_URL": (
        "REDIS_TLS_URL REDISCLOUD_URL REDISTOGO_URL REDIS_PRIVATE_URL RQ_REDIS_URL VALKEY_URL"
    ),
    "OPS_READ_TOKENS": "OPS_READ_TOKEN",
    "OPS_WRITE_TOKENS": "OPS_WRITE_TOKEN OPS_TOKEN OPS_TOKENS",
    "PUBLIC_URL": (
        "PUBLIC_API_BASE_URL PUBLIC_BASE_URL PUBLIC_API_URL RENDER_EXTERNAL_URL"
        " RAILWAY_PUBLIC_DOMAIN"
    ),
    "GOOGLE_OAUTH_CLIENT_ID": "REACT_APP_GOOGLE_OAUTH_CLIENT_ID GOOGLE_CLIENT_ID",
    "MICROSOFT_OAUTH_CLIENT_ID": (
        "REACT_APP_MICROSOFT_OAUTH_CLIENT_ID MICROSOFT_CLIENT_ID MS_OAUTH_CLIENT_ID MS_CLIENT_ID"
        " OUTLOOK_CLIENT_ID"
    ),
    "LOG_LEVEL": "LOGLEVEL LOGGING_LEVEL",
}
_SETTING_OF = {other: ours for ours, others in OTHER_NAMES.items() for other in others.split()}
# A shorter name resembles too many others.
_MIN_LENGTH = 9
_MIN_SIMILARITY = 0.93


@dataclass(frozen=True, slots=True)
class Misnamed:
    """A setting that is not set, and the other names that are set instead."""

    setting: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        are = "is" if len(self.others) == 1 else "are"
        return f"{' and '.join(self.others)} {are} set, and {self.setting} is not"


def misnamed(environ: Mapping[str, str], settings: Iterable[str]) -> Iterator[Misnamed]:
    """Yield each setting that is set only under another name."""
    names = list(settings)
    found: dict[str, list[str]] = {}
    for name in sorted(name for name, value in environ.items() if value and name not in names):
        meant = _SETTING_OF.get(name) or _similar(name, names)
        if meant and not environ.get(meant):
            found.setdefault(meant, []).append(name)
    yield from (Misnamed(setting, tuple(others)) for setting, others in found.items())


def _similar(name: str, names: list[str]) -> str | None:
    if len(name) < _MIN_LENGTH:
        return None
    return next(iter(get_close_matches(name.upper(), names, n=1, cutoff=_MIN_SIMILARITY)), None)
