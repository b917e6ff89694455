"""`python -m energymarket.report`."""

import sys

from energymarket.report.program import main

sys.exit(main())
