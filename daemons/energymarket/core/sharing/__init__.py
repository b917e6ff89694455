"""Rules by which a community shares its energy: one file each, and what each home would pay under them."""
