"""The migrations: linear, reversible, equal to the models, and the views as promised."""

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from models.tables.metadata import belongs_to, metadata
from models.tables.schema_version import HEAD
from tests.conftest import MakeSettings, alembic_config, migrate

ROOT = Path(__file__).parents[2]


def indexes_of(connection: Connection) -> dict[str, str]:
    """Each index's own words, as the database keeps them: predicates are part of them."""
    if connection.dialect.name == "postgresql":
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    else:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    found = connection.execute(text(query)).all()
    return {name: re.sub(r'[\s"]+', " ", words) for name, words in found}


def test_the_migrations_are_one_line_and_its_end_is_recorded() -> None:
    """Two heads, or a forgotten record, would let readyz pass on a database that is behind."""
    scripts = ScriptDirectory.from_config(alembic_config())
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert scripts.get_heads() == [HEAD]
    assert revisions == sorted(revisions, reverse=True)


def test_each_migration_is_numbered_and_imports_nothing_of_ours() -> None:
    """A migration stands for a moment: what the models say later must not change it."""
    for path in (ROOT / "migrations" / "versions").glob("[!_]*.py"):
        assert re.fullmatch(r"\d{4}_[a-z]+(_[a-z]+)+\.py", path.name)
        assert not re.search(
            r"^(from|import) (models|workers|webhook)", path.read_text(), re.MULTILINE
        )


@pytest.mark.filterwarnings("ignore:autogenerate skipping")
def test_migrated_tables_are_the_models_tables(engine: Engine) -> None:
    """What the code believes of the tables is what a release makes of them."""
    with engine.connect() as connection:
        opts = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": belongs_to(connection.dialect.name),
            # SQLite's words of titles are in tables that triggers keep: no model speaks to them.
            "include_name": lambda name, *_: not str(name).startswith("meeting_title"),
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata()) == []


def test_migrated_indexes_are_the_models_indexes(engine: Engine) -> None:
    """Also in their predicates, which Alembic does not compare."""
    with engine.connect() as connection:
        migrated = indexes_of(connection)
        for name in reversed(inspect(connection).get_view_names()):
            connection.execute(text(f"DROP VIEW {name}"))
        metadata().drop_all(connection)
        metadata().create_all(connection)
        created = indexes_of(connection)
    migrated.pop("alembic_version_pkc", None)
    created.pop("alembic_version_pkc", None)
    assert migrated == created


def test_down_and_up_again_is_the_same(engine: Engine, make_settings: MakeSettings) -> None:
    """Every step has a real way back."""
    config = alembic_config()
    with engine.connect() as connection:
        before = indexes_of(connection), sorted(inspect(connection).get_table_names())
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert inspect(connection).get_view_names() == []
    migrate(make_settings())
    with engine.connect() as connection:
        after = indexes_of(connection), sorted(inspect(connection).get_table_names())
    assert after == before
