"""``python -m perennial_demo``."""

import sys

from perennial_demo.main import main

sys.exit(main())
