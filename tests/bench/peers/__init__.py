"""The peers: small, idiomatic programs, run in `.venv-bench`, that import nothing of ours."""
