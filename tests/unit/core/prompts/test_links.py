"""Whether a workflow reads an output, from prompts as ComfyUI executes them."""

from __future__ import annotations

from typing import Any

import pytest
from pack.nodes.core.prompts.links import reads_output

PROMPT = {
    "1": {"class_type": "PatchbayApplyLora", "inputs": {"lora_name": ["a", "b"], "strength_model": 1.0}},
    "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}},
    "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 3]}},
}


@pytest.mark.parametrize(
    ("prompt", "node", "outputs", "reads"),
    [(PROMPT, "1", (2, 3), True), (PROMPT, "1", (2,), False), (PROMPT, "2", (0, 3), False), (None, "1", (0,), False)],
)
def test_an_output_is_read_where_a_node_takes_it(prompt: Any, node: str, outputs: tuple[int, ...], reads: bool) -> None:
    assert reads_output(prompt, node, outputs) is reads
