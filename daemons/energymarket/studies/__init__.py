"""Studies: a scenario played again and again with other parameters, as one table and one page."""
