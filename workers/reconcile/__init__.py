"""Comparing our bots with List Bots."""
