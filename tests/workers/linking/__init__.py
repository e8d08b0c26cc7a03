"""Tests of workers.linking."""
