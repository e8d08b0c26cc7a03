"""Just enough HTTP."""
