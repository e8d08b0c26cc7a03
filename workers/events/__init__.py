"""Events on their way to others: numbered, signed, posted, and tried again."""
