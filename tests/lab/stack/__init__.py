"""Processes: servers, the local stack, the demo."""
