"""Calendar users, and what the checks of their calendars found."""
