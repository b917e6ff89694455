"""The core decides and touches nothing: no I/O, no clock, no log, no global random."""
