"""The migration this code is written for; a test keeps it equal to the newest one."""

# Here and not read from the migrations: readyz must not load Alembic in the web process.
HEAD = "0010"
