"""Tests of webhook.doctor."""
