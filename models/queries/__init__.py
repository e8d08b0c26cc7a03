"""The reads: lists, filters, and what pages, API and commands ask."""
