"""Tests of workers.calendars."""
