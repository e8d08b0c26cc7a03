"""Tests of webhook.web."""
