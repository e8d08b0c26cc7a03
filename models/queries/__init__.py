"""Read queries shared by console, API and command line."""
