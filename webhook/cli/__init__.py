"""The commands of recall-links, one module for each group."""
