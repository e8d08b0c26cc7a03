"""Engines: several processes can open one database at the same time."""

import threading
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.core.engine import make_engine
from models.settings.environment import Settings

ROUNDS, OPENERS = 100, 6


def test_a_new_sqlite_file_can_be_opened_many_times_at_once(tmp_path: Path) -> None:
    """SQLite fails one of several concurrent switches to WAL, whatever the busy timeout."""
    refused: list[SQLAlchemyError] = []

    def write(settings: Settings, together: threading.Barrier) -> None:
        engine = make_engine(settings, "write")
        together.wait()
        try:
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS a (b)"))
        except SQLAlchemyError as error:
            refused.append(error)
        finally:
            engine.dispose()

    for turn in range(ROUNDS):
        settings = Settings.read({"DATABASE_URL": f"sqlite:///{tmp_path}/{turn}.db"})
        together = threading.Barrier(OPENERS)
        openers = [
            threading.Thread(target=write, args=(settings, together)) for _ in range(OPENERS)
        ]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join()
    assert refused == []
