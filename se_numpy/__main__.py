"""``python -m se_numpy`` is the command ``se-numpy``."""

import sys

from se_numpy.cli import main

if __name__ == "__main__":
    sys.exit(main())
