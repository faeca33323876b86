"""What Inspect File says of ComfyUI, against ComfyUI's own loader on every file that the installed tools write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import added, stock
from nano_models import flux2_state_dict
from writer_files import TOOL_FILES, write_tool_file
from writer_reference import relative_error

CASES = [name for name in TOOL_FILES if not name.startswith("diffusers_model")]


@pytest.fixture(scope="module")
def bfl() -> dict[str, torch.Tensor]:
    return flux2_state_dict(seed=4, hidden=128, double=2, single=3)


@pytest.fixture(scope="module")
def model(comfy_in_process: Any, bfl: dict[str, torch.Tensor]) -> Any:
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(dict(bfl))


@pytest.mark.all
@pytest.mark.parametrize("name", CASES)
def test_comfyui_is_said_to_read_what_it_reads(
    name: str, model: Any, bfl: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    from pack.nodes.core.check.readers.programs import which_read
    from pack.nodes.core.check.readers.rule import NO, YES
    from pack.nodes.core.files.header import read_header
    from pack.nodes.core.lora.file import read_lora

    path, truth = write_tool_file(name, tmp_path, bfl)
    said = which_read(read_lora(read_header(path)), "flux2")[0]
    found = added(stock(model, str(path)))
    right = found.keys() >= truth.keys() and relative_error(found, truth) < 2e-3
    assert (said.answer == YES) == right, f"{said}: stock lands {len(found)} of {len(truth)}"
    if said.answer == NO:
        assert not found
