"""The secret scan of `./dev check`, and what `./dev audit` makes of an advisory source's words."""

import base64
import random
from typing import Any

import pytest

from tests.lab.sender.signing import new_secret
from tests.tooling import audit, secret_scan
from tests.tooling.secret_scan import KINDS, committed_files, scan

_RNG = random.Random(7)
KEY = _RNG.randbytes(20).hex()
NOISE = base64.urlsafe_b64encode(_RNG.randbytes(30)).decode()
# Put together here, or the scan would find them in this very file.
LEAKS = {
    "a webhook signing secret": f"RECALL_WEBHOOK_SECRETS={new_secret()}",
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "a URL with a password": "DATABASE_URL=postgres://" + f"app:{KEY[:12]}@db.example.com/links",
    "a token as Recall signs them": "seen: ey" + f"J{NOISE[:12]}.{NOISE}.{NOISE[:20]}",
    "an API key": f"curl -H 'Authorization: Token {KEY}'",
    "a cloud or forge token": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a value under a secret's name": f"OPS_READ_TOKENS: {NOISE}1a",
}


def kinds(text: str) -> set[str]:
    """What a text is found to hold."""
    return {leak.kind for leak in scan(text)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_secret_is_caught(kind: str) -> None:
    """In a settings file, a command, or prose."""
    assert kind in kinds(f"first line\n{LEAKS[kind]}\n")


@pytest.mark.parametrize("url", ["redis", "rediss", "postgresql+psycopg", "https"])
def test_a_password_in_any_url_is_caught(url: str) -> None:
    """Also without a user's name."""
    assert kinds(f"{url}://" + ":swordfish@host:6379") == {"a URL with a password"}


@pytest.mark.parametrize(
    "text",
    [
        "RECALL_WEBHOOK_SECRETS=whsec_…",
        "heroku config:set RECALL_API_KEY=… RECALL_WEBHOOK_SECRETS=whsec_…",
        "https://docs.recall.ai/docs/bot-status-change-events",
        f"--hash=sha256:{KEY}{KEY[:24]}",
        "token: str | None",
        'external_id_hash = hashlib.sha256(b"recall-links external_id")',
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    """A scan that cries wolf is switched off."""
    assert kinds(text) == set()


def test_a_finding_shows_where_and_not_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """The scan's own words end up in a public log."""
    secret = new_secret()
    leaky = tmp_path / "notes.md"
    leaky.write_text(f"\nthe secret is {secret}\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\x00")
    monkeypatch.setattr(secret_scan, "ROOT", tmp_path)
    monkeypatch.setattr(secret_scan, "committed_files", lambda: sorted(tmp_path.iterdir()))
    assert secret_scan.main() == 1
    said = capsys.readouterr().out
    assert "notes.md:2: a webhook signing secret (whsec_…)" in said
    assert secret.removeprefix("whsec_") not in said


def test_this_checkout_holds_no_secret() -> None:
    """Every file that is tracked, or would be."""
    try:
        paths = committed_files()
    except OSError:
        pytest.skip("not a git checkout")
    assert {"README.md", "conftest.py", ".env.example"} <= {path.name for path in paths}
    found = {path.name: list(scan(path.read_text(errors="replace"))) for path in paths}
    assert {name: leaks for name, leaks in found.items() if leaks} == {}


def package(name: str, **fields: Any) -> dict[str, Any]:
    """A package in pip-audit's report."""
    return {"name": name, "version": "1.0"} | fields


@pytest.mark.parametrize(
    ("packages", "code", "word"),
    [
        ([package("flask", vulns=[])], 0, "nothing is known against 1 packages"),
        (
            [package("flask", vulns=[{"id": "PYSEC-1", "fix_versions": ["1.1"]}])],
            1,
            "flask 1.0: PYSEC-1, mended in 1.1",
        ),
        ([package("flask", vulns=[]), package("rq", skip_reason="unknown")], 3, "not know rq"),
        (None, 3, "no advisory source can be reached"),
    ],
)
def test_an_audit_says_in_its_exit_code_what_it_found(packages: Any, code: int, word: str) -> None:
    """Not audited is never taken for nothing found."""
    ended, lines = audit.judge(None if packages is None else {"dependencies": packages})
    assert (ended, len(lines)) == (code, 1)
    assert word in lines[0]


def test_a_source_that_knows_no_package_counts_as_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit calls that a success; and a source that breaks off has not answered."""
    said = ['{"dependencies": [{"name": "flask", "skip_reason": "not found"}]}', "Traceback …"]

    class Done:
        @property
        def stdout(self) -> str:
            return said.pop(0)

    monkeypatch.setattr("tests.tooling.audit.subprocess.run", lambda *_, **__: Done())
    assert audit.main() == 3
    assert capsys.readouterr().out.count("\n") == 1
    assert said == []
