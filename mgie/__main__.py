"""Lets `python -m mgie` stand for `mgie`."""

import sys

from mgie.cli import main

if __name__ == "__main__":
    sys.exit(main())
