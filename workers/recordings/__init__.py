"""Recordings of bots, and whether a bot recorded."""
