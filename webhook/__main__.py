"""`python -m webhook`: the web process."""

import os
import sys

# If rich is installed, httpx and structlog import it: six megabytes a process that nothing here
# uses, and tracebacks that show the values of variables.
sys.modules["rich"] = None  # type: ignore[assignment]

from flask import Flask

from models.core.logging import set_up_logging
from models.core.sentry import set_up_sentry
from models.settings.environment import Settings, SettingsError
from webhook.app import create_app, resources_of
from webhook.serving.waitress_server import WebServer


def main() -> int:
    """Serve until SIGTERM; returns 2 if a setting is malformed."""
    try:
        settings = Settings.read(os.environ)
        set_up_logging(settings)
        # This process never forks, so Sentry's threads may start right away.
        set_up_sentry(settings)
        # Some parts require settings that are optional elsewhere; that also stops the start.
        app = create_app(settings)
        server = _listen(app, settings)
    except SettingsError as error:
        print(f"recall-links web: {error}", file=sys.stderr)
        return 2
    server.run()
    return 0


def _listen(app: Flask, settings: Settings) -> WebServer:
    try:
        return WebServer(app, settings)
    except (OSError, ValueError) as error:
        resources_of(app).close()
        # waitress raises ValueError for a host that has no address.
        reason = getattr(error, "strerror", None) or "it has no address"
        raise SettingsError(f"HOST, PORT: nothing can listen there: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
