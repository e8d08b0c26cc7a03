"""The JSON and CSV API."""
