"""Tests of workers.recall_api."""
