"""What every page and route shares: auth, parameters, problems, CSV."""
