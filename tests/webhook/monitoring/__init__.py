"""Tests of webhook.monitoring."""
