"""Tests of webhook.receiver."""
