"""Failing bots by cause, and their retries."""
