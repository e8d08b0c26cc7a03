"""GET /healthz and /readyz: whether the process is alive, and ready to serve."""

import json

import redis
from flask import Blueprint, Response
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import ErrorKind, classify, is_unavailable
from models.core.database_remedies import public_reason
from models.tables.schema_version import ENCODING, HEAD, wrong_encoding
from webhook.receiver.write_check import WriteCheck


class Health:
    """Checks whether this process can serve requests."""

    def __init__(self, engine: Engine, client: redis.Redis | None, writing: WriteCheck) -> None:
        self._engine = engine
        self._writing = writing
        self._client = client
        self.is_draining = False

    def checks(self) -> dict[str, str]:
        """Return each part's state: ok, or why not. Strangers learn nothing more."""
        return {
            "serving": "draining" if self.is_draining else "ok",
            "database": self._database(),
            "redis": self._redis(),
        }

    @staticmethod
    def is_ready(checks: dict[str, str]) -> bool:
        """Whether these checks allow requests; Redis is reported but not required."""
        return checks["serving"] == checks["database"] == "ok"

    def _database(self) -> str:
        # Not SELECT 1: a database without our tables is useless too.
        try:
            with self._engine.connect() as connection:
                version = connection.scalar(text("SELECT version_num FROM alembic_version"))
                encoding = wrong_encoding(connection)
        except SQLAlchemyError as error:
            return _in_words(error)
        if encoding is not None:
            return f"its encoding is {encoding}, not {ENCODING}"
        # A later version is the next release's. Its migrations only add, so this process keeps
        # serving until it is replaced.
        if version is None or version < HEAD:
            return "not migrated"
        unwritable = self._writing.reason()
        return "ok" if unwritable is None else f"cannot be written: {unwritable}"

    def _redis(self) -> str:
        if self._client is None:
            return "not set"
        try:
            # Reported only: a web process without Redis still commits webhooks.
            self._client.ping()
        except redis.RedisError:
            return "away"
        return "ok"


def _in_words(error: SQLAlchemyError) -> str:
    if classify(error) is ErrorKind.REFUSED:
        return f"refuses: {public_reason(error)}"
    return f"away: {public_reason(error)}" if is_unavailable(error) else "not migrated"


def blueprint(health: Health) -> Blueprint:
    """Return the two routes; they need no token, because load balancers have none."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        # Checks nothing: a platform restarts what fails here, and that fixes no database.
        return Response('{"status": "ok"}', mimetype="application/json")

    @routes.get("/readyz")
    def readyz() -> Response:
        checks = health.checks()
        is_ready = health.is_ready(checks)
        body = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return Response(json.dumps(body), 200 if is_ready else 503, mimetype="application/json")

    return routes
