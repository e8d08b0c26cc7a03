"""What every process starts from: settings, engine, logging, and plain helpers."""
