"""The commands of recall-links, a file for each kind."""
