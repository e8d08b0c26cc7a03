"""What API, console and command line share."""
