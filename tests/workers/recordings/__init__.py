"""Tests of workers.recordings."""
