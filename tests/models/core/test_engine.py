"""Engines: what several processes that open one database at once can rely on."""

import threading
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.core.engine import make_engine
from models.settings.environment import Settings

ROUNDS, OPENERS = 100, 6


def test_all_that_open_a_new_file_at_once_get_in(tmp_path: Path) -> None:
    """SQLite refuses one of several that turn a file to WAL, whatever its busy timeout is."""
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
