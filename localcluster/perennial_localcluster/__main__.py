"""Entry point of ``python -m perennial_localcluster``."""

import sys

from perennial_localcluster.cli import main

sys.exit(main())
