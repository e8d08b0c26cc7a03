"""From a signed POST to a committed delivery."""
