"""Tests of models.queries.failures."""
