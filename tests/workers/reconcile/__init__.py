"""Tests of workers.reconcile."""
