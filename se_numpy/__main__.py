"""Run the ``se-numpy`` command with ``python -m se_numpy``."""

import sys

from se_numpy.cli import main

if __name__ == "__main__":
    sys.exit(main())
