"""Actions on calendar users, and the nightly check of their calendars."""
