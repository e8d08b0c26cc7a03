"""Everything that faces a sender or a person; Flask lives here alone."""
