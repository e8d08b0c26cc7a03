"""`python -m webhook.cli`: the command line where the package is not installed."""

from webhook.cli.main import main

if __name__ == "__main__":
    main()
