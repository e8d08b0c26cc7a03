"""Tests of models.queries.alarms."""
