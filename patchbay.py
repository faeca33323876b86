#!/usr/bin/env python3
"""LoRA Patchbay's two commands: ``python3 patchbay.py demo`` and ``python3 patchbay.py test``.

Both set everything up first, in the git-ignored folder ``.runtime``. Needs Python 3.10 or newer, git
and a package index; ``--help`` lists the options.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - this very line tells an older Python's user what to do
    sys.exit(
        "patchbay.py needs Python 3.10 or newer, this is {}.{}. "
        "Start it with a newer one, e.g. python3.12 patchbay.py demo.".format(*sys.version_info[:2])
    )

from tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
