"""Pages in Chromium."""
