"""One file per job; scripts import from here, and nothing here imports a script."""
