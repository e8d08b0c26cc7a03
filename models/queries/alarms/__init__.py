"""Alarms: what rings, when, and what to do."""
