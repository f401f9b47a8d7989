"""`python -m itron_core` is the command `itron-core`."""

from itron_core.cli import main

if __name__ == "__main__":
    main()
