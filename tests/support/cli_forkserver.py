"""A process that has the command line loaded, and forks for each command.

The second that loading takes is then spent once; each command is a process all the same, with a
terminal or files of its own.
"""

import contextlib
import json
import os
import sys
from typing import Any

from webhook.cli import errors
from webhook.cli.main import cli, main


def serve() -> None:
    """Read a command a line, run it in a fork, and say how it ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        if (child := os.fork()) == 0:
            _become(asked)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(asked: dict[str, Any]) -> None:
    # A new session first: the terminal that is opened next becomes its own.
    os.setsid()
    for descriptor, (path, flags) in enumerate(asked["files"]):
        os.dup2(os.open(path, flags, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = ["recall-links", *asked["words"]]
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - the fork must not return to the loop, whatever it was
        sys.excepthook(*sys.exc_info())
        code = 70
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # Whoever works on this may have a .env, and no test is to read it.
    os.chdir("/")
    # Each is imported at its first call: here once, and not in every fork.
    loaded = [errors, *cli.commands.values()]
    serve()
