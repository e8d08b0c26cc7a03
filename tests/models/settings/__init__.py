"""Tests of models.settings."""
