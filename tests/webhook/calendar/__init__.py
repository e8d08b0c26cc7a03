"""Tests of webhook.calendar."""
