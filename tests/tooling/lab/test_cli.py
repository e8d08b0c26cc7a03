"""The lab runs by hand: `python -m tests.lab`."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from tests.lab.__main__ import main
from tests.lab.http.wire import Response
from tests.lab.sender.receiver import Receiver
from tests.lab.sender.signing import new_secret

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_recall_says_where_it_is_and_ends_cleanly(ending: signal.Signals, tmp_path: Path) -> None:
    """One JSON line when ready, exit code 0 at SIGTERM and SIGINT, nothing on stderr."""
    with _running("--seed", "7", "--bots", "4") as (process, fake):
        key = {"Authorization": f"Token {fake['api_key']}"}
        page = httpx.get(f"{fake['url']}/api/v1/bot/", headers=key, trust_env=False)
        assert page.json()["count"] == 4
        door = {"x-lab-token": fake["control_token"]}
        stats = httpx.get(f"{fake['url']}/_lab/stats", headers=door, trust_env=False)
        assert stats.json()["calls"] == {"GET bot 200": 1}
        process.send_signal(ending)
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")


def test_recall_speaks_tls_when_asked(tmp_path: Path) -> None:
    """The CA file is there before the ready line is."""
    ca_file = tmp_path / "ca.pem"
    with _running("--tls-ca", str(ca_file)) as (_, fake):
        assert fake["url"].startswith("https://127.0.0.1:")
        assert fake["ca_file"] == str(ca_file)
        assert ca_file.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_send_delivers_the_lives_of_the_seeds_bots() -> None:
    """The summary counts messages, attempts and statuses; duplicates are no new messages."""
    with Receiver() as receiver:
        result = _send(receiver, "--bots", "3", "--duplicates", "0.5", "--shuffle", "--noise")
        summary = json.loads(result.output)
        arrived = [json.loads(request.body) for request in receiver.requests]
    assert result.exit_code == 0
    assert summary["statuses"] == {"202": len(arrived)}
    assert summary["taken"] == summary["messages"] < summary["attempts"] == len(arrived)
    assert len({_bot_id(body) for body in arrived if body["event"] == "bot.done"}) == 3


def test_send_takes_a_bot_of_ones_own() -> None:
    """Generation, family and outcome are what was asked for."""
    with Receiver() as receiver:
        options = ("--generation", "legacy", "--family", "webhook", "--outcome", "fatal")
        result = _send(receiver, "--bot-id", "b-1", *options)
        bodies = [json.loads(request.body) for request in receiver.requests]
        assert "webhook-id" in receiver.requests[0].headers
    assert result.exit_code == 0
    assert {body["data"]["bot_id"] for body in bodies} == {"b-1"}
    assert "fatal" in {body["data"]["status"]["code"] for body in bodies}


def test_send_ends_1_when_something_was_not_taken() -> None:
    """Retries are made and counted before it gives up."""
    with Receiver(lambda _: Response(500)) as receiver:
        result = _send(receiver, "--bot-id", "b-1", "--retry-factor", "0.0000001")
        assert len(receiver.requests) == 8 * 6
    assert result.exit_code == 1
    assert json.loads(result.output)["taken"] == 0


@pytest.mark.parametrize(
    "wrong",
    [["--to", "ftp://x", "--secret", "whsec_AAAA"], ["--to", "http://x", "--secret", "whsec_!"]],
)
def test_send_refuses_nonsense(wrong: list[str]) -> None:
    """A URL or secret that is none is a usage error, not a traceback."""
    result = CliRunner().invoke(main, ["send", *wrong])
    assert result.exit_code == 2
    assert "Error:" in result.output


def test_secret_prints_a_new_one() -> None:
    """Each call prints another whsec_ secret."""
    one, two = (CliRunner().invoke(main, ["secret"]).output for _ in range(2))
    assert one.startswith("whsec_")
    assert one != two


def _send(receiver: Receiver, *options: str) -> Result:
    to = ["send", "--to", f"{receiver.url}/hook", "--secret", new_secret(), "--seed", "7"]
    return CliRunner().invoke(main, [*to, *options])


def _bot_id(body: dict[str, Any]) -> str:
    return str(body["data"]["bot"]["id"])


@contextlib.contextmanager
def _running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "tests.lab", "recall", *options]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()
