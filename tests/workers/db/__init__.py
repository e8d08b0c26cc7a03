"""Tests of workers.db."""
