"""Recall's rate limits, shared by all workers."""
