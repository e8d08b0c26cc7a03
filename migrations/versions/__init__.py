"""One numbered step each."""
