"""The signed sender."""
