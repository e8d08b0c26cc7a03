"""The checks of `recall-links doctor`."""
