"""The demo, as a stranger runs it."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx

from tests.lab.stack.stack import environment

ROOT = Path(__file__).parents[2]
BARRED = """SELECT recorded, ended_sub_code, bot_status, link_state FROM bot_links
    WHERE ended_sub_code = 'timeout_exceeded_waiting_room'"""
COMMAND = [sys.executable, "-m", "tests.lab", "demo"]


def test_the_demo_makes_every_link_it_should_and_the_database_says_the_same(
    tmp_path: Path,
) -> None:
    """It ends with 0, prints each link, and names the file that holds them."""
    done = subprocess.run(
        [*COMMAND, "--once", "--folder", str(tmp_path / "demo")],
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 of 15 bots as expected" in done.stdout
    told = re.search(r"(\d+) of (\d+) events received and verified, 0 refused", done.stdout)
    assert told
    assert told[1] == told[2]
    assert int(told[1]) > 28
    path = re.search(r"bot_links, in (\S+\.db)", done.stdout)
    assert path
    database = sqlite3.connect(path[1])
    links = database.execute("SELECT bot_id, external_id FROM bot_links").fetchall()
    barred = database.execute(BARRED).fetchall()
    calls = database.execute("SELECT calls FROM link_attempts").fetchall()
    database.close()
    assert len(links) == 15
    ((recorded, sub_code, status, link_state),) = barred
    assert (recorded, sub_code) == (0, "timeout_exceeded_waiting_room")
    assert (status, link_state) == ("done", "linked")
    assert re.search(r"never let in +linked +not let in ", done.stdout)
    assert len(re.findall(r"linked +yes ", done.stdout)) == 11
    for bot_id, external_id in links:
        assert bot_id[:8] in done.stdout
        assert external_id in done.stdout
    total = sum(len(json.loads(kept)) for (kept,) in calls)
    assert f"{total} calls to Recall" in done.stdout
    assert f"(Recall counted {total})" in done.stdout


def test_the_demo_serves_until_ctrl_c(tmp_path: Path) -> None:
    """Then it ends everything it started; until then its token opens the console."""
    command = [*COMMAND, "--folder", str(tmp_path)]
    demo = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    with demo:
        assert demo.stdout
        for line in demo.stdout:
            if found := re.search(r"The console: (\S+)/console/, with the token (\S+)", line):
                url, token = found.groups()
            if "until Ctrl-C" in line:
                break
        headers = {"Authorization": f"Bearer {token}"}
        second = subprocess.run([*command, "--once"], cwd=ROOT, env=environment(), check=False,
                                capture_output=True, text=True, timeout=40)  # fmt: skip
        assert second.returncode == 2
        assert f"(pid {demo.pid})" in second.stderr
        assert "--folder" in second.stderr
        (failed,) = httpx.get(f"{url}/api/bots?link_state=failed", headers=headers).json()["items"]
        assert failed["last_error"].startswith("http_422")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=40)
    assert demo.returncode == 0


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """A usage error, and what lies there stays."""
    (tmp_path / "letters").write_text("dear Ada")
    command = [*COMMAND, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=False, capture_output=True)
    assert done.returncode == 2
    assert (tmp_path / "letters").read_text() == "dear Ada"


def test_up_without_settings_says_what_to_set(tmp_path: Path) -> None:
    """And does not start."""
    command = [sys.executable, "-m", "tests.lab", "up", "--env-file", str(tmp_path / ".env")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "RECALL_API_KEY and RECALL_WEBHOOK_SECRETS" in done.stdout
