"""`python -m webhook`: the web process."""

import os
import sys

# Where it is installed, httpx and structlog import it, for what neither does here: six megabytes a
# process, and tracebacks that show the values of variables.
sys.modules["rich"] = None  # type: ignore[assignment]

from flask import Flask

from models.core.logging import set_up_logging
from models.core.sentry import set_up_sentry
from models.settings.environment import Settings, SettingsError
from webhook.app import create_app, resources_of
from webhook.serving.waitress_server import WebServer


def main() -> int:
    """Serve until SIGTERM; 2 when a setting is malformed."""
    try:
        settings = Settings.read(os.environ)
        set_up_logging(settings)
        # This process never forks: its threads may start right away.
        set_up_sentry(settings)
        # Some parts need a setting that others leave out; that too stops the boot.
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
        # The library's own ValueError is for a host that has no address.
        reason = getattr(error, "strerror", None) or "it has no address"
        raise SettingsError(f"HOST, PORT: nothing can listen there: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
