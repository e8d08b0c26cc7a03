"""Tests of workers.rate_limits."""
