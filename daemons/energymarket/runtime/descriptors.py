"""How many descriptors this process may open: the soft limit that shells set is too low for a market."""

from __future__ import annotations

import resource


def allow(count: int) -> int:
    """Raise the soft limit to `count`, as far as the hard one lets us; the answer is the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
