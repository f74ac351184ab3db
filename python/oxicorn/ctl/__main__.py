"""`python -m oxicorn.ctl`."""

import sys

from oxicorn.ctl import main

if __name__ == "__main__":
    sys.exit(main())
