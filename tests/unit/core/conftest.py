"""Lets the tests of the core import the makers of test files beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
