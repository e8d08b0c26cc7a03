"""`python -m workers`: one worker dyno."""

import os
import sys

# httpx and structlog import rich if it is installed. It takes six megabytes a process, and its
# tracebacks show the values of variables.
sys.modules["rich"] = None  # type: ignore[assignment]

from models.core.logging import set_up_logging
from models.settings.environment import Settings, SettingsError
from workers.processes.supervisor import Supervisor
from workers.queue.redis_clients import quick_redis
from workers.recall_api.transport import make_ssl_context


def main() -> int:
    """Run until SIGTERM; 2 when a setting is missing or malformed."""
    try:
        settings = Settings.read(os.environ)
        set_up_logging(settings)
        _ = settings.api_key
        # The children create their own clients; this reports a malformed REDIS_URL before the fork.
        quick_redis(settings)
        # The root certificates are loaded once, before the fork.
        context = make_ssl_context(os.environ.get("SSL_CERT_FILE"))
    except SettingsError as error:
        print(f"recall-links worker: {error}", file=sys.stderr)
        return 2
    Supervisor(settings, context).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
