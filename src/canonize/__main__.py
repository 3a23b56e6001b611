"""`python -m canonize` is the command line."""

from canonize.cli import main

if __name__ == "__main__":
    main()
