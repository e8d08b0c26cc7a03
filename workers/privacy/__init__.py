"""Erasing, exporting and forgetting what is held about people."""
