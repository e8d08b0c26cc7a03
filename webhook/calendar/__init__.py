"""The calendar companion: connecting calendars in the browser."""
