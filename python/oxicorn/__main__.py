"""`python -m oxicorn`: the same as the command `oxicorn`."""

import sys

from oxicorn.cli import main

if __name__ == "__main__":
    sys.exit(main())
