"""`python -m webhook.cli`: runs the command line without an installed package."""

from webhook.cli.main import main

if __name__ == "__main__":
    main()
