"""``python -m lora_patchbay``: the same as the command ``lora-patchbay``."""

import sys

from .cli.main import main

sys.exit(main())
