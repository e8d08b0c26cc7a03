"""The fake Recall's endpoints."""
