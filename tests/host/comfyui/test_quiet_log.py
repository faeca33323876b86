"""What this thread writes to the log while something is tried counts; what other threads write does not."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.host


def in_another_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_warnings_of_this_thread_are_kept_and_others_pass(comfy_in_process: Any, caplog: Any) -> None:
    from pack.nodes.host.comfyui.quiet_log import quiet_warnings

    with quiet_warnings() as seen:
        logging.warning("mine")
        logging.info("no warning")
        in_another_thread(lambda: logging.warning("of another"))
    logging.warning("afterwards")
    assert seen == ["mine"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "of another", "afterwards",
    ]  # fmt: skip


def test_a_warning_of_another_thread_is_no_failure_of_a_patch(
    comfy_in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.weight_adapter
    from pack.nodes.host.match.roles import read_parts
    from pack.nodes.host.norms.patches import delta_norm

    kind = comfy.weight_adapter.OFTAdapter
    blocks = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.1
    value = read_parts(kind(set(), (blocks, None, None, None)))
    weight = torch.randn(32, 16, generator=torch.Generator().manual_seed(2))
    expected = delta_norm(value, (32, 16), lambda: weight)
    assert expected[0]
    own = kind.calculate_weight

    def beside_a_noisy_thread(*args: Any, **kwargs: Any) -> Any:
        in_another_thread(lambda: logging.warning("a download is slow"))
        return own(*args, **kwargs)

    monkeypatch.setattr(kind, "calculate_weight", beside_a_noisy_thread)
    assert delta_norm(value, (32, 16), lambda: weight) == expected
