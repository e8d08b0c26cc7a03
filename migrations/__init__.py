"""Alembic migrations, numbered; the Procfile's release line runs them."""
