"""The web server: waitress with a graceful stop.

waitress reads a whole request before a thread gets it, so slow senders block no thread.
"""

import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sized
from functools import partial
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from waitress import create_server

from models.core.logging import OncePerSecond
from models.settings.environment import Settings
from webhook.app import Resources, resources_of
from webhook.receiver.views import PATH
from webhook.serving.batch_dispatcher import BatchDispatcher
from webhook.serving.http_channel import Channel, Shared

MOST_ACCEPTED = 64
# waitress stops listening here; its default of 100 is soon filled by slow senders.
CONNECTION_LIMIT = 1000
# Heroku's router keeps an idle connection for 90 s; with a shorter time, a POST could meet a close.
KEEP_ALIVE_SECONDS = 120
MAX_HEADER_BYTES = 32 * 1024
# After /readyz reports draining, keep serving senders that have not read it yet.
LINGER_SECONDS = 1.0
# Then open requests are aborted: platforms kill after 30 s, and we promise 10.
STOP_SECONDS = 8.0

logger = structlog.stdlib.get_logger(__name__)


class WebServer:
    """Serves until SIGTERM or SIGINT, then finishes open requests and ends within 10 s."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._resources: Resources = resources_of(app)
        self._server: Any = create_server(app, **_adjustments(settings))
        self._map: dict[int, Any] = self._server._map
        self._shared = Shared(self._resources.health, settings.webhook_max_bytes)
        self._server.channel_class = partial(Channel, self._shared)
        self._server.handle_accept = partial(_accept_all, self._server.handle_accept, self._map)
        self._server.task_dispatcher.queue_logger = _QueueLogger()
        self._dispatcher = BatchDispatcher(
            self._server.task_dispatcher, PATH, self._resources.inbox, self._server.pull_trigger
        )
        self._server.task_dispatcher = self._dispatcher
        self._server.pull_trigger = self._dispatcher.pull_trigger
        self._stop_at: float | None = None
        self._is_listening = True
        self.port = int(self._server.effective_port)

    def run(self) -> None:
        """Serve; returns when stopped and drained."""
        _allow_descriptors(2 * CONNECTION_LIMIT)
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._request_stop)
        logger.info("listening", port=self.port)
        while not self._is_drained():
            self._server.asyncore.loop(timeout=0.2, use_poll=True, map=self._map, count=1)
            self._dispatcher.flush()
            self._shared.close_overdue()
        self._dispatcher.shutdown(timeout=1)
        self._resources.close()
        logger.info("stopped")

    def _request_stop(self, _signum: int, _frame: FrameType | None) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic()
            self._resources.health.is_draining = True
            self._server.pull_trigger()

    def _is_drained(self) -> bool:
        if self._stop_at is None:
            return False
        stopping_for = time.monotonic() - self._stop_at
        if stopping_for < LINGER_SECONDS:
            return False
        if self._is_listening:
            self._is_listening = False
            self._server.del_channel(self._map)
            self._server.socket.close()
        self._close_idle()
        return not self._server.active_channels or stopping_for > STOP_SECONDS

    def _close_idle(self) -> None:
        for channel in list(self._server.active_channels.values()):
            # Unsent responses and unread requests count as open too.
            if not channel.requests and not channel.total_outbufs_len and not _has_more(channel):
                channel.handle_close()


class _QueueLogger:
    """Logs at most once a second that requests wait for a thread; waitress does so for each.

    A logging filter runs too late: by then the caller of the line has been looked up.
    """

    def __init__(self) -> None:
        self._seldom = OncePerSecond()

    def warning(self, message: str, *args: object) -> None:
        """Log the warning if it is time."""
        if self._seldom.is_due():
            logger.warning(message, *args)


def _accept_all(accept: Callable[[], None], channels: Sized) -> None:
    # waitress accepts one connection a turn, so slow turns would delay everyone behind.
    for _ in range(MOST_ACCEPTED):
        before = len(channels)
        accept()
        if len(channels) == before or len(channels) >= CONNECTION_LIMIT:
            return


def _has_more(channel: Any) -> bool:
    try:
        return bool(channel.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def _allow_descriptors(wanted: int) -> None:
    # Each connection needs one, and there are some others; many systems start with 1,024.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _adjustments(settings: Settings) -> dict[str, Any]:
    behind_router = {
        "trusted_proxy": "*",
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto x-forwarded-port",
    }
    return {
        "host": settings.host,
        "port": settings.port,
        "threads": settings.web_threads,
        "connection_limit": CONNECTION_LIMIT,
        # select() cannot hold the thousandth descriptor.
        "asyncore_use_poll": True,
        "channel_timeout": KEEP_ALIVE_SECONDS,
        "cleanup_interval": 10,
        # The parser enforces the limit exactly; waitress would count chunk framing as body.
        "max_request_body_size": sys.maxsize,
        "max_request_header_size": MAX_HEADER_BYTES,
        # A client may claim any address; only the platform's router is trusted.
        "clear_untrusted_proxy_headers": True,
        "ident": None,
        **(behind_router if settings.dyno else {}),
    }
