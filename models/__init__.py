"""What the receiver and the workers agree on: settings, tables, reads."""
