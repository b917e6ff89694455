"""The book of a run: its balance, its prices by cause, in words and as one picture of the day."""
