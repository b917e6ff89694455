"""`energyctl up`: the daemons in the foreground, supervised, shown, and taken down in order."""
