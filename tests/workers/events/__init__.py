"""Tests of workers.events."""
