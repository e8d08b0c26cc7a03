"""Tests of the house: architecture, secrets, benchmark, lab."""
