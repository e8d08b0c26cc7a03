"""Scripted faults and hostile requests."""
