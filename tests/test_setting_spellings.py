"""Every setting in every spelling: taken where it is plain, else one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.settings import Settings, SettingsError
from tests.setting_spellings import BAD, BESIDE, GOOD, HIDDEN, shown

ROOT = Path(__file__).parent.parent
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
    "doctor": ["-m", "webhook.cli", "doctor"],
    "db upgrade": ["-m", "webhook.cli", "db", "upgrade"],
    "release": ["-m", "alembic", "upgrade", "head"],
}


def run(entrance: str, folder: Path, **environ: str) -> tuple[int, str]:
    """Run one entrance until it ends: its exit code, and what it said on standard error."""
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
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_every_malformed_setting_ends_every_entrance_in_one_line(
    entrance: str, tmp_path: Path
) -> None:
    """All are named at once, with exit code 2, nothing of their values, and no traceback."""
    bad = {name.upper(): values[0] for name, values in BAD.items() if values}
    code, said = run(entrance, tmp_path, **bad)
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith("recall-links")
    for name in bad:
        assert f"{name}: " in said
    assert HIDDEN not in said
