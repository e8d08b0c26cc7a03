"""Looking after calendar users: actions, checks and the nightly sweep."""
