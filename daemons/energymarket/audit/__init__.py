"""The checker: holds ledger, registers and physics together, and shares no code with settlement."""
