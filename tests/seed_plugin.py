"""Randomness that is the same in every run: each fixture and each test begins from a seed of its own name.

So what a test draws does not depend on which tests ran before it, nor on which worker. ``PATCHBAY_TEST_SEED`` moves
all seeds; the layer ``fuzz`` sets it, and lets hypothesis look for new examples.
"""

from __future__ import annotations

import os
import random
import sys
import zlib
from typing import Any

import pytest
from hypothesis import settings

SEED = int(os.environ.get("PATCHBAY_TEST_SEED") or 0)


def pytest_configure() -> None:
    """The test command tries the same examples each time, however slow the machine; nothing is kept on disk."""
    settings.register_profile("same", derandomize=True, deadline=None, database=None)
    settings.register_profile("fuzz", deadline=None, database=None, print_blob=True)
    settings.load_profile(os.environ.get("PATCHBAY_TEST_PROFILE") or "same")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    """What a fixture makes depends on its name alone."""
    _seed(f"{fixturedef.baseid}::{fixturedef.argname}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """So does what a test draws. Its id would not do: with several workers it ends with the group."""
    _seed(f"{item.path.name}::{item.name}")


def _seed(name: str) -> None:
    """Seed the generators that are in use; whoever imports another later seeds it by itself."""
    number = (zlib.crc32(name.encode()) + SEED) % 2**32
    random.seed(number)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(number)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(number)
