"""Every setting in many spellings: accepted, or refused with one line that names it."""

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
# What shells, .env files, web forms and copied text leave around a value.
AROUND = [
    "{}\n", "{}\r\n", " {} ", "\t{}", "\u00a0{}\u00a0", "\ufeff{}", "{}\u200b", '"{}"', "'{}'",
    '" {} "', "'\"{}\"'\n",
]  # fmt: skip


def read(name: str, value: str) -> object:
    """Read one setting, together with the settings it depends on."""
    return shown(getattr(Settings.read(BESIDE.get(name, {}) | {name.upper(): value}), name))


def refusal(name: str, value: str) -> str | None:
    """Return the error message for a value; None if it is accepted."""
    try:
        read(name, value)
    except SettingsError as error:
        return str(error)
    return None


def test_every_setting_has_good_and_bad_spellings() -> None:
    """A new setting needs its rows in the tables."""
    assert set(GOOD) == set(BAD) == set(FIELDS)
    assert all(GOOD.values())


@pytest.mark.parametrize("name", FIELDS)
def test_a_known_spelling_is_accepted(name: str) -> None:
    """With the meaning given in the table."""
    for value, meaning in GOOD[name].items():
        assert read(name, value) == meaning, value


@pytest.mark.parametrize("name", FIELDS)
def test_spaces_and_quotes_around_a_value_are_removed(name: str) -> None:
    """Whichever tool left them there."""
    value, meaning = next(iter(GOOD[name].items()))
    for around in AROUND:
        assert read(name, around.format(value)) == meaning, repr(around)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("nothing", ["", " ", "\n", '""', "''", "' '"])
def test_a_value_of_only_spaces_and_quotes_counts_as_unset(name: str, nothing: str) -> None:
    """Like a cleared config var."""
    found = getattr(Settings.read(BESIDE.get(name, {}) | {name.upper(): nothing}), name)
    assert found == getattr(Settings.read(BESIDE.get(name, {})), name)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_another_spelling_gives_one_line_that_names_the_setting(name: str, value: str) -> None:
    """In our own words, without the value."""
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
def test_no_value_causes_a_traceback(name: str, before: str, after: str) -> None:
    """Any value is accepted, or refused with one line that names the setting only."""
    for value in (f"{before}{HIDDEN}{after}", f"{next(iter(GOOD[name]))}{before}{HIDDEN}{after}"):
        line = refusal(name, value)
        if line is not None:
            assert line.startswith(name.upper())
            assert HIDDEN not in line
            assert "\n" not in line


ENTRY_POINTS = {
    "web": ["-m", "webhook"],
    "worker": ["-m", "workers"],
    "doctor": ["-m", "webhook.cli.main", "doctor"],
    "db upgrade": ["-m", "webhook.cli.main", "db", "upgrade"],
    "release": ["-m", "alembic", "upgrade", "head"],
}


def run(entry_point: str, folder: Path, **environ: str) -> tuple[int, str, str]:
    """Run one entry point to its end; return exit code, standard output and standard error."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environ
    given = {"DATABASE_URL": f"sqlite:///{folder}/x.db", "PORT": "0"} | given
    ended = subprocess.run(
        [sys.executable, *ENTRY_POINTS[entry_point]],
        check=False,
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_malformed_setting_ends_every_process_with_one_line(
    entry_point: str, tmp_path: Path
) -> None:
    """All are named at once, with exit code 2, without values and without a traceback."""
    bad = {name.upper(): values[0] for name, values in BAD.items() if values}
    code, _, stderr = run(entry_point, tmp_path, **bad)
    assert code == 2
    assert stderr.count("\n") == 1
    assert stderr.startswith("recall-links")
    for name in bad:
        assert f"{name}: " in stderr
    assert HIDDEN not in stderr


@pytest.mark.parametrize(
    ("entry_point", "environ", "named"),
    [
        ("web", {"HOST": "192.0.2.1"}, "HOST, PORT: "),
        ("web", {"HOST": "nowhere.invalid"}, "HOST, PORT: "),
        ("web", {"HOST": "h" * 70}, "HOST, PORT: "),
        ("worker", {"SSL_CERT_FILE": f"/nowhere/{HIDDEN}.pem"}, "SSL_CERT_FILE: "),
        ("worker", {"RECALL_API_KEY": "", "RECALL_API_TOKEN": HIDDEN}, "RECALL_API_TOKEN is set"),
        ("doctor", {"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE: "),
    ],
)
def test_a_setting_that_cannot_be_used_stops_its_process(
    entry_point: str, environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    """A valid but unusable value gives exit code 2, and the last line names the setting."""
    code, _, stderr = run(entry_point, tmp_path, **{"RECALL_API_KEY": "key"} | environ)
    assert code == 2
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith(f"recall-links {entry_point}".removesuffix(" doctor"))
    assert named in last
    assert HIDDEN not in stderr


# -- other tools' names --------------------------------------------------------

PAIRS = [(setting, other) for setting, names in OTHER_NAMES.items() for other in names.split()]
# Unlisted names that are similar to ours.
PAIRS += [("CALENDAR_RETURN_URLS", "CALENDAR_RETURN_URL"), ("WORKER_THREADS", "WORKER_THREAD")]


@pytest.mark.parametrize(("setting", "other"), PAIRS)
def test_another_name_of_a_setting_is_reported(setting: str, other: str) -> None:
    """The doctor reports it with our name, and never its value."""
    settings = Settings.read({other: HIDDEN})
    (finding,) = [each for each in examine_settings(settings) if each.name == "setting names"]
    assert finding.text == f"{other} is set, and {setting} is not"
    assert setting in finding.remedy
    assert HIDDEN not in str(finding)


def test_several_names_of_one_setting_are_one_finding() -> None:
    """Recall's guides have two secrets, one of the workspace and one of the endpoint."""
    names = ("RECALL_SVIX_WEBHOOK_SECRET", "RECALL_WORKSPACE_VERIFICATION_SECRET")
    (finding,) = Settings.read(dict.fromkeys(names, HIDDEN)).misnamed
    assert str(finding) == f"{names[0]} and {names[1]} are set, and RECALL_WEBHOOK_SECRETS is not"


def test_a_setting_that_is_set_reports_no_other_name() -> None:
    """If both are set, ours is used. Merely similar names belong to other programs."""
    environ = {setting: next(iter(GOOD[setting.lower()])) for setting in OTHER_NAMES}
    both = environ | {other: HIDDEN for _, other in PAIRS[:-2]}
    others = {"GOOGLE_OAUTH_CLIENT_SECRET": HIDDEN, "HOSTNAME": HIDDEN, "DATABASE_NAME": HIDDEN}
    assert not Settings.read(both).misnamed
    assert not Settings.read(others).misnamed


def test_other_names_are_not_settings_of_ours() -> None:
    """And each belongs to a setting that exists."""
    ours = {name.upper() for name in FIELDS}
    assert set(OTHER_NAMES) <= ours
    assert not {other for _, other in PAIRS} & ours


@pytest.mark.parametrize("command", ["db upgrade", "doctor"])
def test_only_the_doctor_reports_another_name(command: str, tmp_path: Path) -> None:
    """Other commands do not mention it."""
    run("db upgrade", tmp_path)
    _, out, stderr = run(command, tmp_path, PUBLIC_API_BASE_URL=HIDDEN)
    assert ("PUBLIC_API_BASE_URL is set, and PUBLIC_URL is not" in out) == (command == "doctor")
    assert HIDDEN not in out + stderr


def test_the_web_process_logs_another_name_at_boot(tmp_path: Path) -> None:
    """Together with the consequence."""
    environ = {"RECALL_WORKSPACE_VERIFICATION_SECRET": HIDDEN, "HOST": "192.0.2.1"}
    _, _, stderr = run("web", tmp_path, **environ)
    assert "RECALL_WEBHOOK_SECRETS is not set: every webhook is answered 503" in stderr
    assert (
        "RECALL_WORKSPACE_VERIFICATION_SECRET is set, and RECALL_WEBHOOK_SECRETS is not" in stderr
    )
    assert HIDDEN not in stderr
