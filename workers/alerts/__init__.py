"""Alerts: messages when an alarm starts and ends, and the heartbeat."""
