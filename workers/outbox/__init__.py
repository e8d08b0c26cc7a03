"""Events for others, written in the transaction that makes the change."""
