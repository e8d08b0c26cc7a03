"""Tests of workers.queue."""
