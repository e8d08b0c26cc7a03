"""Recall's API: transport, clients, schemas, errors and retries."""
