"""Tests of the migrations and the read contract."""
