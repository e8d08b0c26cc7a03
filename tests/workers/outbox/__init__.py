"""Tests of workers.outbox."""
