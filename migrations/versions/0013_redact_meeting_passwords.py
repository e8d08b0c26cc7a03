"""What opens a meeting goes out of the rows that were stored before it was left out of new ones.

Rows are looked for first, which locks nothing, and then written a few hundred at a time.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BATCH = 500
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# As the code of this moment has it.
PARTS: tuple[str, ...] = (
    "password",
    "passwd",
    "passcode",
    "passphrase",
    "passkey",
    "pwd",
    "pincode",
    "accesscode",
)
PARTS = (*PARTS, "hostkey", "token", "secret", "credential")
WHOLE = ("tk", "pw", "pin", "pass")
NO_WORD = re.compile(r"[\W_]+")
PARAMETER = re.compile(r"(?<=[?&#;])([\w.\-%]+)=[^\s&#;\"'<>]*")
PAIR = re.compile(
    r"""(["'])([\w.\- ]{1,64})\1\s*:\s*(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}\]]+)"""
)
# What a text has that may need it: a sieve for the database, coarser than the rules above.
SIEVE: tuple[str, ...] = (
    "pass",
    "pwd",
    "token",
    "secret",
    "credential",
    "key",
    "code",
    "pin",
    "tk",
    "pw",
)
SIEVE = (*SIEVE, "?p=", "&p=")


def is_secret(key: str) -> bool:
    """Whether a key says that its value opens a meeting."""
    plain = NO_WORD.sub("", key).lower()
    return plain in WHOLE or any(part in plain for part in PARTS)


def in_words(text: str) -> str:
    """Return a text without the passwords of addresses and of quoted JSON in it."""

    def parameter(found: re.Match[str]) -> str:
        return f"{found[1]}=…" if is_secret(found[1]) or found[1].lower() == "p" else found[0]

    def pair(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{found[1]}: …" if is_secret(found[2]) else found[0]

    return PAIR.sub(pair, PARAMETER.sub(parameter, text))


def in_json(value: Any) -> Any:
    """Return a JSON value without keys that say a password, and without those in its texts."""
    if isinstance(value, str):
        return in_words(value)
    if isinstance(value, list):
        return [in_json(item) for item in value]
    if isinstance(value, dict):
        return {key: in_json(item) for key, item in value.items() if not is_secret(key)}
    return value


def upgrade() -> None:
    """Redact meetings' addresses and details, and the errors that may echo them."""
    for table, column in (("bots", "meeting_url"), ("calendar_meetings", "details")):
        redact(table, sa.String(), sa.column(column, JSON), in_json)
    redact("bots", sa.String(), sa.column("last_error", sa.String()), in_words)
    redact("link_attempts", sa.BigInteger(), sa.column("error", sa.String()), in_words)


def downgrade() -> None:
    """Change nothing: what was taken out is gone, and no older release misses it."""


def redact(
    name: str, kind: Any, column: "sa.ColumnClause[Any]", clean: Callable[[Any], Any]
) -> None:
    """Write the rows of one column that change by it."""
    bind, table = op.get_bind(), sa.table(name, sa.column("id", kind), column)
    changed = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("key"))
        .values({column.name: sa.bindparam("new", type_=column.type)})
    )
    for part in parts(bind, table, column):
        kept = sa.select(table.c.id, column).where(table.c.id.in_(part))
        rows = [(row[0], row[1], clean(row[1])) for row in bind.execute(kept)]
        news = [{"key": key, "new": new} for key, old, new in rows if new != old]
        if news:
            # In the order of their keys, as every writer locks them.
            bind.execute(changed, sorted(news, key=lambda row: row["key"]))


def parts(
    bind: sa.Connection, table: "sa.TableClause", column: "sa.ColumnClause[Any]"
) -> Iterator[list[Any]]:
    """Yield the keys of rows that may need it, a batch at a time."""
    text = sa.func.lower(sa.cast(column, sa.Text()))
    may = sa.or_(*(text.contains(word, autoescape=True) for word in SIEVE))
    found = sa.select(table.c.id).where(column.is_not(None), may).order_by(table.c.id)
    keys = list(bind.scalars(found))
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]
