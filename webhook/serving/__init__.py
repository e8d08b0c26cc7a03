"""Waitress, and webhooks committed in batches."""
