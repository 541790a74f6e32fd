"""Sources -> prepared dataset: read, merge, audit, split, balance."""
