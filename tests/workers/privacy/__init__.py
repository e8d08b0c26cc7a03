"""Tests of workers.privacy."""
