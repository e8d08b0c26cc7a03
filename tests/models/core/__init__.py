"""Tests of models.core."""
