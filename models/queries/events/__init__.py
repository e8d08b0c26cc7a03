"""Events and their endpoints, as lists and in detail."""
