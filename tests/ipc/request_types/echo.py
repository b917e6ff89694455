"""echo: the question comes back."""

from __future__ import annotations

from energymarket.requests.kind import RequestType

REQUEST = RequestType("echo", ticketed=True, answer=lambda question, _context: question)
