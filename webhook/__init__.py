"""Everything that faces a sender or a person. Only this package uses Flask."""
