"""Settings: read from the environment and validated; errors never show a value."""
