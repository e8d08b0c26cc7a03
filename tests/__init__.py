"""The tests of recall-links, and the lab they run against."""
