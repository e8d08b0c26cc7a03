"""Accepted and refused spellings of every setting, as tables for the tests."""

from collections.abc import Callable, Mapping
from datetime import time
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL

from models.settings.calendar import JwtKey
from models.settings.credentials import OpsToken, WebhookSecret
from models.settings.redirect_urls import WebAddress
from tests.conftest import SECRET as FIRST

# Part of every bad value; no message may contain it.
HIDDEN = "hunter2"
SECRET, OTHER = FIRST, "whsec_aHVudGVyMg=="
LONG, OTHER_LONG = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
)
TOKEN, OTHER_TOKEN = "0123456789abcdef", "fedcba9876543210"
PUBLIC = "https://links.example"
APP, SITE = "https://app.example", "https://site.example"
KEY = "0123456789abcdef0123456789abcdef"

_SECRETS = {
    SECRET: [SECRET],
    SECRET.rstrip("="): [SECRET],
    f"{SECRET}, {OTHER}": [SECRET, OTHER],
    f"{SECRET},,{OTHER},": [SECRET, OTHER],
    f"{SECRET} {OTHER}\n": [SECRET, OTHER],
    f"{SECRET}\r\n{OTHER}\r\n": [SECRET, OTHER],
    f'"{SECRET}","{OTHER}"': [SECRET, OTHER],
    f'["{SECRET}", "{OTHER}"]': [SECRET, OTHER],
    f"{SECRET},{SECRET}": [SECRET],
}
_TOKENS = {
    TOKEN: [TOKEN],
    f"{TOKEN} , {OTHER_TOKEN}": [TOKEN, OTHER_TOKEN],
    f"{TOKEN},,{TOKEN}": [TOKEN],
    f"Bearer {TOKEN}": [TOKEN],
    f"bearer {TOKEN}\n{OTHER_TOKEN}": [TOKEN, OTHER_TOKEN],
    f"'{TOKEN}', '{OTHER_TOKEN}'": [TOKEN, OTHER_TOKEN],
    f'["{TOKEN}","{OTHER_TOKEN}"]': [TOKEN, OTHER_TOKEN],
    "correct horse battery staple": ["correct horse battery staple"],
    f"ann:{TOKEN}": [f"ann:{TOKEN}"],
    f"Bearer ann:{TOKEN}, {OTHER_TOKEN}": [f"ann:{TOKEN}", OTHER_TOKEN],
    f"ann: '{TOKEN}',b.o_b-2:{OTHER_TOKEN}": [f"ann:{TOKEN}", f"b.o_b-2:{OTHER_TOKEN}"],
    f"ann:{TOKEN}:{TOKEN}": [f"ann:{TOKEN}:{TOKEN}"],
}
_BAD_TOKENS = ["hunter2", f"{TOKEN},hunter2", "hunter2-é0123456789", "hunter2\x07456789abcdef"]
_BAD_TOKENS += [
    f"{word}:{TOKEN}"
    for word in ("", "2hunter", "ann hunter2", "ann/hunter2", "änn", "hunter2" * 5)
]
_BAD_TOKENS += ["ann:hunter2", f"ann:{TOKEN},Ann:hunter2-{TOKEN}", f"{TOKEN}-hunter2:ann"]
_BAD_TOKENS += [f"ann:{TOKEN}-hunter2,bob:{TOKEN}-hunter2"]
_ORIGINS = {
    APP: [APP],
    f"{APP}/, {SITE}:443/": [APP, SITE],
    f"{APP} {SITE}": [APP, SITE],
    f"app.example,{APP}": [APP, APP],
    f'["{APP}","{SITE}"]': [APP, SITE],
    f"{APP},,{APP}": [APP],
    "http://localhost:3000": ["http://localhost:3000"],
}
_BAD_ORIGINS = ["*", f"{APP}/hunter2", "https://u:hunter2@app.example", "http://hunter2.example"]
_THREADS = {"4": 4, "+4": 4, "004": 4, "1_0": 10}
_BAD_THREADS = ["hunter2", "0", "-1", "129", "4.5", "4,0", "4 threads", "9" * 5000, "٤"]
_DAYS = {"30": 30, "30d": 30, "30 days": 30, "2 weeks": 14, "36500": 36_500}
_BAD_DAYS = ["0", "-1", "30h", "1.5", "hunter2 days", "36501", "9" * 30]
_HOOKS = {
    f"{APP}/services/T0/B0/x?y=1": f"{APP}/services/T0/B0/x?y=1",
    "HTTPS://App.example:443": f"{APP}/",
    "app.example/hook": f"{APP}/hook",
    "http://127.0.0.1:9/hook": "http://127.0.0.1:9/hook",
    "http://localhost/hook": "http://localhost/hook",
    "http://[::1]:65535/hook": "http://[::1]:65535/hook",
}
_BAD_HOOKS = [
    "hunter2",
    "http://hunter2.example/hook",
    "ftp://hunter2.example",
    "https://u:hunter2@app.example/",
    f"{APP}/#hunter2",
    f"{APP}/hunter2 x",
    f"{APP}/../hunter2",
    f"{APP}/hunter2é",
    f"{APP}:0/hunter2",
    f"{APP}:70000/hunter2",
    "http://[::1]:70000/hunter2",
    "https://999.999.999.999/hunter2",
    "https://10.0.1/hunter2",
    "https://hooks.0x7f/hunter2",
    f"https://{'hunter2' * 10}.example/",
    "https://hunter2..example/",
    f"https://{'hunter2.' * 40}example/",
    f"{APP}/{'hunter2' * 300}",
]
_CLIENT_IDS = {"1-a.apps.example": "1-a.apps.example"}
_BAD_CLIENT_IDS = ["hunter2 hunter2", "hunter2\x00", "hunter2é", "hunter2" * 100]

GOOD: Mapping[str, Mapping[str, object]] = {
    "recall_api_key": {
        "key": "key",
        "Token key": "key",
        "token key": "key",
        "Bearer key": "key",
        "Authorization: Token key": "key",
    },
    "recall_region": dict.fromkeys(
        [
            "us-west-2",
            "US-WEST-2",
            "us_west_2",
            "us west 2",
            "us-west-2.recall.ai",
            "https://us-west-2.recall.ai",
            "https://US-West-2.recall.ai/api/v1/",
        ],
        "us-west-2",
    )
    | {"https://api.recall.ai/api/v1": "us-east-1", "eu-central-1": "eu-central-1"},
    "recall_api_base_url": dict.fromkeys(
        [
            "https://us-west-2.recall.ai",
            "https://us-west-2.recall.ai/",
            "https://us-west-2.recall.ai//",
            "https://us-west-2.recall.ai/api/v1",
            "https://us-west-2.recall.ai/api/v1/",
            "https://us-west-2.recall.ai/api/v2/",
            "https://us-west-2.recall.ai/api/",
            "HTTPS://US-West-2.Recall.ai/api/v1",
            "http://us-west-2.recall.ai",
            "us-west-2.recall.ai",
            "us-west-2.recall.ai/api/v1",
        ],
        "https://us-west-2.recall.ai",
    )
    | {
        "http://127.0.0.1:9": "http://127.0.0.1:9",
        "http://recall_mock:8080/": "http://recall_mock:8080",
        "http://[::1]:9/api/v1": "http://[::1]:9",
        "https://proxy.example/Recall/api/v1/": "https://proxy.example/Recall",
        "https://proxy.example/api": "https://proxy.example/api",
    },
    "recall_webhook_secrets": dict(_SECRETS),
    "recall_rate_share": {"50": 50.0, "50%": 50.0, "50 percent": 50.0, "12.5": 12.5, "+5": 5.0},
    "database_url": {
        "postgres://u:p@h:5432/d": "postgresql+psycopg://u:p@h:5432/d",
        "postgresql://u:p@h:5432/d": "postgresql+psycopg://u:p@h:5432/d",
        "sqlite:///x.db": "sqlite:///x.db",
    },
    "redis_url": {
        "redis://h": "redis://h",
        "redis://h:6379/0": "redis://h:6379/0",
        "REDIS://h:6379/": "redis://h:6379/",
        "valkey://h/1": "redis://h/1",
        "valkeys://h/1": "rediss://h/1",
        "redis://:%23hunter2@h:6379": "redis://:%23hunter2@h:6379",
        "redis://u:p@ss@[::1]:6379": "redis://u:p@ss@[::1]:6379",
        "redis://h?db=0": "redis://h?db=0",
        "redis://h?protocol=3": "redis://h?protocol=3",
        "redis://h/0?decode_responses=true&encoding=utf-8": "redis://h/0",
        "redis://h/0?health_check_interval=30&socket_timeout=9": "redis://h/0",
        "rediss://h:6379?ssl_cert_reqs=none": "rediss://h:6379?ssl_cert_reqs=none",
        "rediss://h:6379?ssl_cert_reqs=CERT_NONE": "rediss://h:6379?ssl_cert_reqs=none",
        "rediss://h:6379?ssl_cert_reqs=CERT_REQUIRED": "rediss://h:6379?ssl_cert_reqs=required",
        "rediss://h?ssl_check_hostname=false": "rediss://h?ssl_check_hostname=false",
        "unix:///run/redis.sock": "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2": "unix:///run/redis.sock?db=2",
        "unix://u@/run/redis.sock?password=p%20w": "unix://u@/run/redis.sock?password=p%20w",
        "redis+socket:///run/redis.sock": "unix:///run/redis.sock",
        "/run/redis.sock": "unix:///run/redis.sock",
    },
    "redis_tls_verify": dict.fromkeys(["none", "None", "CERT_NONE", "false", "off", "0"], "none")
    | dict.fromkeys(["full", "FULL", "required", "cert_required", "true", "1"], "full"),
    "ops_read_tokens": dict(_TOKENS),
    "ops_write_tokens": dict(_TOKENS),
    "webhook_tolerance_seconds": {"300": 300, "300s": 300, "5 min": 300, "5m": 300, "+300": 300},
    "webhook_max_bytes": {"262_144": 262_144, "256k": 262_144, "256 KiB": 262_144, "1MB": 1048576},
    "worker_threads": dict(_THREADS),
    "sweep_seconds": {"5": 5.0, "5s": 5.0, "500ms": 0.5, "0.5": 0.5, "1e1": 10.0},
    "lease_seconds": {"20": 20.0, "20 seconds": 20.0, "1m": 60.0},
    "host": {
        "127.0.0.1": "127.0.0.1",
        "localhost": "localhost",
        "*": "0.0.0.0",  # noqa: S104
        "[::]": "::",
        "::1": "::1",
    },
    "port": {"8000": 8000, "+8000": 8000, "8_000": 8000, "0": 0, "65535": 65_535},
    "web_threads": dict(_THREADS),
    "log_level": {
        "debug": "DEBUG",
        "Info": "INFO",
        "warn": "WARNING",
        "WARNING": "WARNING",
        "critical": "ERROR",
        "20": "INFO",
    },
    "log_format": {"json": "json", "JSON": "json", "Console": "console", "text": "console"},
    "sentry_dsn": {
        dsn: dsn
        for dsn in (
            "https://k@o1.ingest.sentry.io/2",
            "https://u:p@sentry.example:9000/prefix/2",
            "http://k@localhost/2",
        )
    },
    "reconcile_at": dict.fromkeys(["03:30", "3:30", "03:30:00", "03:30Z", "3:30 utc"], time(3, 30))
    | dict.fromkeys(["off", "OFF", "none", "never", "0"], None),
    "retain_payload_days": dict(_DAYS),
    "retain_attempt_days": dict(_DAYS),
    "events_url": {text: [url] for text, url in _HOOKS.items()}
    | {
        f'["{APP}/hook"]': [f"{APP}/hook"],
    },
    "events_secret": {
        LONG: [[LONG]],
        f"{LONG} {OTHER_LONG}": [[LONG, OTHER_LONG]],
        f'"{LONG}"\n': [[LONG]],
    },
    "events_types": {
        "bot.ended": ["bot.ended"],
        "bot.ended, link.ended": ["link.ended", "bot.ended"],
        "alarm.*": ["alarm.started", "alarm.ended"],
    },
    "dyno": {"web.1": "web.1"},
    "alert_webhook_url": dict(_HOOKS),
    "heartbeat_url": dict(_HOOKS),
    "public_url": dict.fromkeys(
        [PUBLIC, f"{PUBLIC}/", f"{PUBLIC}:443/", "links.example", "HTTPS://Links.example"], PUBLIC
    ),
    "google_oauth_client_id": dict(_CLIENT_IDS),
    "microsoft_oauth_client_id": dict(_CLIENT_IDS),
    "calendar_jwt_key": {KEY: "HS256"},
    "calendar_jwt_user_claim": {"sub": "sub", "https://app.example/user": f"{APP}/user"},
    "calendar_allowed_origins": dict(_ORIGINS),
    "calendar_return_urls": {
        f"{APP}/settings": [f"{APP}/settings"],
        f"{APP}/a, {SITE}/b": [f"{APP}/a", f"{SITE}/b"],
        f"{APP}/a\n{APP}/a": [f"{APP}/a"],
    },
    "calendar_trust_any_user": dict.fromkeys(["1", "true", "True", "YES", "on", "y"], True)
    | dict.fromkeys(["0", "false", "No", "OFF", "n"], False),
}

BAD: dict[str, list[str]] = {
    "recall_api_key": [
        "hunter2 hunter2",
        "hunter2\nhunter2",
        "hunter2é",
        "hunter2\x07",
        "Token x y",
    ],
    "recall_region": ["hunter2", "us-west", "eu", "https://hunter2.recall.ai"],
    "recall_api_base_url": [
        "hunter2",
        "ftp://hunter2.example",
        "https://",
        "https:///hunter2",
        "https://u:hunter2@recall.example",
        "https://recall.example/?key=hunter2",
        "https://recall.example/#hunter2",
        "https://recall.example:hunter2",
        "https://recall.example:0",
        "https://recall.example:70000/hunter2",
        "https://recall.example/ hunter2",
        "https://hünter2.example",
        "https://[hunter2",
    ],
    "recall_webhook_secrets": [
        "hunter2",
        f"{SECRET},hunter2",
        "whsec_",
        "whsec_hunter2!",
        "whsec_hunter2é",
        f"Bearer {SECRET}",
    ],
    "recall_rate_share": ["hunter2", "0", "-1", "nan", "inf", "0,5", "50 hunter2"],
    "database_url": ["hunter2", "mysql://u:hunter2@h/d", "hunter2@h"],
    "redis_url": [
        "redis://:hunter2@h/0?family=0",
        "redis://:hunter2@h/0?ssl_cert_reqs=none",
        "hunter2",
        "http://hunter2.example",
        "h:6379",
        "redis://h:hunter2/0",
        "redis://:hun/ter2@h:6379",
        "redis://:1?hunter2@h:6379",
        "redis://:1#hunter2@h:6379",
        "redis://:[hunter2@h:6379",
        "redis://h:0/0",
        "redis://hunter2..b:6379",
        f"redis://{'hunter2' * 10}:6379",
        "redis://h:70000/0",
        "redis://h/hunter2",
        "redis://h/0/1",
        "redis://h?db=hunter2",
        "redis://h/0?hunter2=1",
        "redis://h/0?hunter2",
        "redis://h?protocol=hunter2",
        "rediss://h?ssl_cert_reqs=hunter2",
        "rediss://h?ssl_check_hostname=hunter2",
        "rediss://h?ssl_ca_certs=/nowhere/hunter2.pem",
        "unix://hunter2",
        "unix://hunter2/x.sock",
        "unix:///",
        "redis+sentinel://hunter2",
        "redis://a:6379,redis://hunter2:6379",
        "redis://h /hunter2",
    ],
    "redis_tls_verify": ["hunter2", "maybe"],
    "ops_read_tokens": _BAD_TOKENS,
    "ops_write_tokens": _BAD_TOKENS,
    "webhook_tolerance_seconds": ["hunter2", "0", "-1", "1.5", "5 hunter2"],
    "webhook_max_bytes": ["hunter2", "12", "2MB", "262,144", "256 hunter2"],
    "worker_threads": _BAD_THREADS,
    "sweep_seconds": ["hunter2", "0", "-1", "61", "nan", "2 min"],
    "lease_seconds": ["hunter2", "0", "601", "inf"],
    "host": ["http://hunter2", "hunter2:8000", "hunter2 hunter2", "0.0.0.0/hunter2"],
    "port": ["hunter2", "-1", "65536", "70000", "80.5", "tcp://hunter2:8000", "9" * 5000],
    "web_threads": _BAD_THREADS,
    "log_level": ["hunter2", "verbose", "25"],
    "log_format": ["hunter2", "xml"],
    "sentry_dsn": [
        "hunter2",
        "https://hunter2.example/1",
        "https://hunter2@sentry.example",
        "https://hunter2@sentry.example/project",
        "https://hunter2@sentry.example:port/1",
        "ftp://hunter2@sentry.example/1",
        "https://hunter2@[sentry/1",
    ],
    "reconcile_at": ["hunter2", "24:00", "3:60", "3", "0330", "3:30 am", "03:30:10", "03:30+01:00"],
    "retain_payload_days": _BAD_DAYS,
    "retain_attempt_days": _BAD_DAYS,
    "events_url": [*_BAD_HOOKS, f"{APP}/ok,ftp://hunter2.example"],
    "events_secret": ["hunter2", OTHER, f"{LONG} hunter2", "whsec_hunter2"],
    "events_types": ["hunter2", "link.hunter2", "hunter2.*"],
    "dyno": [],
    "alert_webhook_url": _BAD_HOOKS,
    "heartbeat_url": _BAD_HOOKS,
    "public_url": ["hunter2", "http://hunter2.example", f"{PUBLIC}/hunter2", "https://u@hunter2"],
    "google_oauth_client_id": _BAD_CLIENT_IDS,
    "microsoft_oauth_client_id": _BAD_CLIENT_IDS,
    "calendar_jwt_key": ["hunter2", "-----BEGIN PUBLIC KEY-----\\nhunter2"],
    # Any text can be the name of a claim, and an empty one counts as unset.
    "calendar_jwt_user_claim": [],
    "calendar_allowed_origins": _BAD_ORIGINS,
    "calendar_return_urls": [f"{APP}/?next=hunter2", "//hunter2.example", f"{APP}/a,hunter2"],
    "calendar_trust_any_user": ["hunter2", "2", "maybe"],
}

# Settings that the setting on the left depends on.
BESIDE = {
    "dyno": {"DATABASE_URL": "postgres://h/d"},
    "events_url": {"EVENTS_SECRET": LONG},
    "google_oauth_client_id": {"PUBLIC_URL": PUBLIC},
    "microsoft_oauth_client_id": {"PUBLIC_URL": PUBLIC},
}


def shown(value: object) -> object:
    """Return a setting's value in the form that the tables use."""
    # A URL is a tuple as well.
    if type(value) in _SHOWN:
        return _SHOWN[type(value)](value)
    return [shown(item) for item in value] if isinstance(value, tuple) else value


def _secret(value: WebhookSecret) -> str:
    known = {WebhookSecret.parse(text): text for text in (SECRET, OTHER, LONG, OTHER_LONG)}
    return known.get(value, value.fingerprint)


_SHOWN: dict[type, Callable[[Any], object]] = {
    URL: lambda url: url.render_as_string(hide_password=False),
    SecretStr: SecretStr.get_secret_value,
    JwtKey: lambda key: key.algorithm,
    WebhookSecret: _secret,
    OpsToken: lambda token: token.spelling,
    WebAddress: str,
}
