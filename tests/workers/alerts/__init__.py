"""Tests of workers.alerts."""
