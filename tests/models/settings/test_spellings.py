"""Every setting in every spelling: taken where it is plain, else one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.settings.environment import Settings, SettingsError
from models.settings.other_names import OTHER_NAMES
from tests.support.setting_spellings import BAD, BESIDE, GOOD, HIDDEN, shown
from webhook.doctor.system import examine_settings

ROOT = Path(__file__).parents[3]
FIELDS = list(Settings.model_fields)
# As shells, .env files, forms and copied texts leave them around a value.
AROUND = [
    "{}\n", "{}\r\n", " {} ", "\t{}", "\u00a0{}\u00a0", "\ufeff{}", "{}\u200b", '"{}"', "'{}'",
    '" {} "', "'\"{}\"'\n",
]  # fmt: skip


def read(name: str, value: str) -> object:
    """Read one setting, beside what it needs."""
    return shown(getattr(Settings.read(BESIDE.get(name, {}) | {name.upper(): value}), name))


def refusal(name: str, value: str) -> str | None:
    """Return the line that refuses a value; None for one that is taken."""
    try:
        read(name, value)
    except SettingsError as error:
        return str(error)
    return None


def test_every_setting_has_its_rows() -> None:
    """A new one is not done before its spellings are told."""
    assert set(GOOD) == set(BAD) == set(FIELDS)
    assert all(GOOD.values())


@pytest.mark.parametrize("name", FIELDS)
def test_a_plain_spelling_is_taken(name: str) -> None:
    """And means what it means in the table."""
    for value, meaning in GOOD[name].items():
        assert read(name, value) == meaning, value


@pytest.mark.parametrize("name", FIELDS)
def test_blanks_and_quotes_around_a_value_are_no_part_of_it(name: str) -> None:
    """Whoever left them there."""
    value, meaning = next(iter(GOOD[name].items()))
    for around in AROUND:
        assert read(name, around.format(value)) == meaning, repr(around)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("nothing", ["", " ", "\n", '""', "''", "' '"])
def test_nothing_between_blanks_and_quotes_counts_as_unset(name: str, nothing: str) -> None:
    """As a config var that was cleared."""
    found = getattr(Settings.read(BESIDE.get(name, {}) | {name.upper(): nothing}), name)
    assert found == getattr(Settings.read(BESIDE.get(name, {})), name)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_another_spelling_is_one_line_that_names_the_setting(name: str, value: str) -> None:
    """In words of ours, with nothing of the value."""
    line = refusal(name, value)
    assert line is not None
    assert line.startswith(f"{name.upper()}: ")
    assert line.isprintable()
    assert HIDDEN not in line
    assert "Input should" not in line
    assert "Value error" not in line


@pytest.mark.parametrize("name", FIELDS)
@hypothesis_settings(max_examples=25)
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_value_is_a_traceback(name: str, before: str, after: str) -> None:
    """Whatever it is, it is taken or refused by a line that names it and shows nothing of it."""
    for value in (f"{before}{HIDDEN}{after}", f"{next(iter(GOOD[name]))}{before}{HIDDEN}{after}"):
        line = refusal(name, value)
        if line is not None:
            assert line.startswith(name.upper())
            assert HIDDEN not in line
            assert "\n" not in line


ENTRANCES = {
    "web": ["-m", "webhook"],
    "worker": ["-m", "workers"],
    "doctor": ["-m", "webhook.cli.main", "doctor"],
    "db upgrade": ["-m", "webhook.cli.main", "db", "upgrade"],
    "release": ["-m", "alembic", "upgrade", "head"],
}


def run(entrance: str, folder: Path, **environ: str) -> tuple[int, str, str]:
    """Run one entrance until it ends: its exit code, and what it printed and complained of."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environ
    given = {"DATABASE_URL": f"sqlite:///{folder}/x.db", "PORT": "0"} | given
    ended = subprocess.run(
        [sys.executable, *ENTRANCES[entrance]],
        check=False,
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_every_malformed_setting_ends_every_entrance_in_one_line(
    entrance: str, tmp_path: Path
) -> None:
    """All are named at once, with exit code 2, nothing of their values, and no traceback."""
    bad = {name.upper(): values[0] for name, values in BAD.items() if values}
    code, _, said = run(entrance, tmp_path, **bad)
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith("recall-links")
    for name in bad:
        assert f"{name}: " in said
    assert HIDDEN not in said


@pytest.mark.parametrize(
    ("entrance", "environ", "named"),
    [
        ("web", {"HOST": "192.0.2.1"}, "HOST, PORT: "),
        ("web", {"HOST": "nowhere.invalid"}, "HOST, PORT: "),
        ("web", {"HOST": "h" * 70}, "HOST, PORT: "),
        ("worker", {"SSL_CERT_FILE": f"/nowhere/{HIDDEN}.pem"}, "SSL_CERT_FILE: "),
        ("worker", {"RECALL_API_KEY": "", "RECALL_API_TOKEN": HIDDEN}, "RECALL_API_TOKEN is set"),
        ("doctor", {"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE: "),
    ],
)
def test_a_setting_that_cannot_be_used_ends_its_entrance(
    entrance: str, environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Well written and useless all the same: exit code 2, and the last line names it."""
    code, _, said = run(entrance, tmp_path, **{"RECALL_API_KEY": "key"} | environ)
    assert code == 2
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith(f"recall-links {entrance}".removesuffix(" doctor"))
    assert named in last
    assert HIDDEN not in said


# -- other tools' names --------------------------------------------------------

OTHERS = [(setting, other) for setting, names in OTHER_NAMES.items() for other in names.split()]
# What nobody listed, but is nearly ours.
OTHERS += [("CALENDAR_RETURN_URLS", "CALENDAR_RETURN_URL"), ("WORKER_THREADS", "WORKER_THREAD")]


@pytest.mark.parametrize(("setting", "other"), OTHERS)
def test_another_name_of_a_setting_is_told(setting: str, other: str) -> None:
    """With the name of ours, by the doctor; and never its value."""
    settings = Settings.read({other: HIDDEN})
    (told,) = [each for each in examine_settings(settings) if each.name == "setting names"]
    assert told.text == f"{other} is set, and {setting} is not"
    assert setting in told.remedy
    assert HIDDEN not in str(told)


def test_several_names_of_one_setting_are_one_finding() -> None:
    """As guides have two secrets, of the workspace and of the endpoint."""
    names = ("RECALL_SVIX_WEBHOOK_SECRET", "RECALL_WORKSPACE_VERIFICATION_SECRET")
    (told,) = Settings.read(dict.fromkeys(names, HIDDEN)).misnamed
    assert str(told) == f"{names[0]} and {names[1]} are set, and RECALL_WEBHOOK_SECRETS is not"


def test_a_setting_that_is_set_has_no_other_name() -> None:
    """Who has both means ours; and what merely looks alike is another program's."""
    environ = {setting: next(iter(GOOD[setting.lower()])) for setting in OTHER_NAMES}
    both = environ | {other: HIDDEN for _, other in OTHERS[:-2]}
    others = {"GOOGLE_OAUTH_CLIENT_SECRET": HIDDEN, "HOSTNAME": HIDDEN, "DATABASE_NAME": HIDDEN}
    assert not Settings.read(both).misnamed
    assert not Settings.read(others).misnamed


def test_other_names_are_no_settings_of_ours() -> None:
    """And mean settings that exist."""
    ours = {name.upper() for name in FIELDS}
    assert set(OTHER_NAMES) <= ours
    assert not {other for _, other in OTHERS} & ours


@pytest.mark.parametrize("command", ["db upgrade", "doctor"])
def test_a_command_tells_another_name_where_it_is_asked_for(command: str, tmp_path: Path) -> None:
    """The doctor does; a command that was asked something else answers that."""
    run("db upgrade", tmp_path)
    _, out, said = run(command, tmp_path, PUBLIC_API_BASE_URL=HIDDEN)
    assert ("PUBLIC_API_BASE_URL is set, and PUBLIC_URL is not" in out) == (command == "doctor")
    assert HIDDEN not in out + said


def test_the_web_process_tells_another_name_as_it_boots(tmp_path: Path) -> None:
    """In its log, beside what comes of it."""
    environ = {"RECALL_WORKSPACE_VERIFICATION_SECRET": HIDDEN, "HOST": "192.0.2.1"}
    _, _, said = run("web", tmp_path, **environ)
    assert "RECALL_WEBHOOK_SECRETS is not set: every webhook is answered 503" in said
    assert "RECALL_WORKSPACE_VERIFICATION_SECRET is set, and RECALL_WEBHOOK_SECRETS is not" in said
    assert HIDDEN not in said
