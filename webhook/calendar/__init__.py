"""The calendar routes: tokens, and connecting calendars in the browser."""
