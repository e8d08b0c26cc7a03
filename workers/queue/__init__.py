"""RQ's one queue, and the connections to Redis."""
