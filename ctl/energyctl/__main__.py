"""`python -m energyctl` is `energyctl`."""

from __future__ import annotations

import sys

from energyctl.app import main

if __name__ == "__main__":
    sys.exit(main())
