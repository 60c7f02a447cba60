"""How fast cekernels is, beside the floor of memory and the other systems: `python -m bench`."""
