"""What every process starts from: engine, logging, Sentry, and plain helpers."""
