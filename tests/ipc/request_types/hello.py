"""hello: a line without a ticket."""

from __future__ import annotations

import os

from energymarket.requests.kind import RequestType

REQUEST = RequestType("hello", ticketed=False, answer=lambda _question, _context: f"hello from {os.getpid()}")
