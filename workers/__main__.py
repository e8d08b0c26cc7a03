"""`python -m workers`: one worker dyno."""

import gc
import os
import sys

# Where it is installed, httpx and structlog import it, for what neither does here: six megabytes a
# process, and tracebacks that show the values of variables.
sys.modules["rich"] = None  # type: ignore[assignment]

from sqlalchemy.orm import configure_mappers

from models.database import make_engine
from models.logs import set_up_logging
from models.settings import Settings, SettingsError
from models.tables import TABLES
from workers.dyno import Dyno
from workers.queue import quick_redis
from workers.rehearsal import rehearse, warm_up
from workers.wire import make_ssl_context


def main() -> int:
    """Run until SIGTERM; 2 when a setting is missing or malformed."""
    try:
        settings = Settings.read(os.environ)
        set_up_logging(settings)
        # What children share is made before they are forked: roots, mappers, compiled statements,
        # and no garbage collector that would touch, and so copy, every page.
        _ = settings.api_key, TABLES
        # Its children make their own; what is wrong with REDIS_URL is told before there are any.
        quick_redis(settings)
        context = make_ssl_context(os.environ.get("SSL_CERT_FILE"))
        configure_mappers()
        engine = make_engine(settings, "write")
        rehearse(engine)
        warm_up(settings, context, engine)
    except SettingsError as error:
        print(f"recall-links worker: {error}", file=sys.stderr)
        return 2
    gc.collect()
    gc.freeze()
    Dyno(settings, context, engine).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
