"""Tests of webhook.console."""
