"""The processes of a worker dyno."""
