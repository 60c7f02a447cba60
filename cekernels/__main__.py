"""Run the `cekernels` command as ``python -m cekernels``."""

from cekernels._cli import main

raise SystemExit(main())
