"""``python -m overread.cli``, where no ``overread`` stands on the path."""

import sys

from overread.cli import main

if __name__ == "__main__":
    sys.exit(main())
