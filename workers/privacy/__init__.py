"""Erasing, exporting and expiring personal data."""
