"""Bad input to those who ask: the API's methods, the command line's ids, a title in a table."""

import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, update

from models.core.title_words import title_columns
from models.tables.calendar import CalendarMeeting
from tests.conftest import SECRET, MakeSettings
from tests.support.bulk_data import bot_id, populate
from webhook.app import create_app, resources_of
from webhook.cli import main
from webhook.web.auth import BEARER

READ = "read-token-0123456789"
# A title anybody can give a meeting that they invite somebody to.
TITLE = "Sync\x1b[2J\x1b]0;owned\x07\n[red]next\u202erow\x9b1m"

Ended = tuple[int, str, str]
Run = Callable[..., Ended]


@pytest.fixture
def run(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run the command line in this process: its exit code, and what it printed where."""

    def command(*words: str, **environ: str) -> Ended:
        for name, value in ({"DATABASE_URL": database_url} | environ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["recall-links", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.mark.parametrize(
    "words",
    [
        ["explain"],
        ["explain", "--"],
        ["links", "--bot-id", "7"],
        ["links", "--since", "someday"],
        ["links", "--nonsense"],
        ["nonsense"],
    ],
)
def test_a_wrong_id_or_option_is_wrong_usage(run: Run, words: list[str]) -> None:
    """Exit 2, the reason on standard error, no traceback, nothing on standard output."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "word", [bot_id(1), "--", "b\u00f8t-\U0001f600", "../../etc/passwd", "' OR 1=1"]
)
def test_what_is_on_file_nowhere_is_nothing_found(run: Run, word: str) -> None:
    """Exit 1, whatever it looks like: a sender may choose any word as the id of a message."""
    code, out, err = run("explain", "--", word)
    assert (code, out) == (1, "")
    assert err.startswith(("nothing has this id: ", "no webhook received for this bot"))
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["links"], ["explain", bot_id(1)], ["status"], ["reverify"]])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_one_line(run: Run, tmp_path: Path, words: list[str]) -> None:
    """Exit 3, and no traceback: neither refused nor missing."""
    for away in ("postgresql://u@127.0.0.1:9/x", f"sqlite:///{tmp_path}/missing/x.db"):
        code, out, err = run(*words, DATABASE_URL=away, RECALL_WEBHOOK_SECRETS=SECRET)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert err.startswith("recall-links: the database does not answer")


@pytest.mark.parametrize("on_a_terminal", [False, True])
def test_a_title_in_a_table_moves_no_cursor(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch, *, on_a_terminal: bool
) -> None:
    """Controls are written out, on one line, and no word of it is taken for markup."""
    populate(engine, 3)
    with engine.begin() as connection:
        connection.execute(update(CalendarMeeting).values(title_columns(TITLE)))
    monkeypatch.setattr("webhook.cli.output.is_terminal", lambda: on_a_terminal)
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = run("links")
    assert code == 0
    for character in "\x1b\x07\u202e\x9b":
        assert character not in out
    assert "Sync\\x1b[2J\\x1b]0;owned\\x07\\n[red]next\\u202erow" in out


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_list_cannot_be_posted_to(make_settings: MakeSettings, method: str) -> None:
    """405 for whoever may ask, and it names what there is."""
    app = create_app(make_settings(OPS_WRITE_TOKENS=READ))
    for path in ("/api/links", "/api/bots", "/api/deliveries", "/api/rejections", "/api/status"):
        response = app.test_client().open(
            path, method=method, headers={"Authorization": BEARER + READ}
        )
        assert response.status_code == 405, path
        assert "GET" in response.headers["Allow"]
        assert response.mimetype == "application/problem+json"
    resources_of(app).close()


@pytest.mark.parametrize("code", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_a_code_that_is_markup_is_text_in_every_answer(
    make_settings: MakeSettings, code: str
) -> None:
    """JSON with JSON's type, and a stranger's path is not echoed as HTML."""
    app = create_app(make_settings(OPS_READ_TOKENS=READ))
    headers = {"Authorization": BEARER + READ}
    for path in (f"/api/bots?status={quote(code)}", f"/{quote(code)}", f"/api/bots/{quote(code)}"):
        response = app.test_client().get(path, headers=headers)
        assert response.mimetype in ("application/json", "application/problem+json")
    resources_of(app).close()
