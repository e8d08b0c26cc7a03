"""The same Flask and the same waitress, set as the service sets them, answering an empty 204.

Fair: the most that this server and this framework can do on this machine.
"""

import os

from flask import Flask, Response
from waitress import create_server

app = Flask(__name__)


@app.route("/webhooks/recall", methods=["POST"])
@app.route("/healthz")
def receive() -> Response:
    """Answer nothing."""
    return Response(status=204)


if __name__ == "__main__":
    create_server(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        threads=16,
        connection_limit=1000,
        asyncore_use_poll=True,
        channel_timeout=120,
        ident=None,
    ).run()
