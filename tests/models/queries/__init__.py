"""Tests of models.queries."""
