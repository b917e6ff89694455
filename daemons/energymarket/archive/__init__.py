"""A backup: ledger, registers, scenario and configuration of one moment in one file, and the way back."""
