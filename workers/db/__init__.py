"""Writing to the database: transactions, upserts, the audit and the counters."""
