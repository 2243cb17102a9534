"""Starts the web demo from a clone: `python demo/app.py [--model M] [--port P]`, the same as `mgie demo`.

The page itself is in `mgie/demo/`. Its example photos are those of `_data/photographs/`.
"""

import sys

from mgie.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
