"""One input for a LoRA file: the same on every node, with a fingerprint that follows the file wherever its name is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nano_models import native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 1}
OWN = {"PatchbayInspectModel", "PatchbayLoraGrid"}
"""Nodes where no file can be chosen as well."""


@pytest.fixture
def file(comfy_in_process: Any, tmp_path: Path) -> Any:
    """A LoRA in a folder of the user's, gone again after the test."""
    import folder_paths

    paths = folder_paths.folder_names_and_paths["loras"][0]
    (tmp_path / "sub").mkdir()
    path = Path(write(tmp_path / "sub" / "one.safetensors", native_lora(seed=3, **SIZES)))
    paths.append(str(tmp_path))
    folder_paths.filename_list_cache.clear()
    yield path
    paths.remove(str(tmp_path))
    folder_paths.filename_list_cache.clear()


def nodes_with_a_lora(pack_nodes: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, node in pack_nodes.items():
        inputs = node.define_schema().inputs
        if any(getattr(item, "id", "") == "lora_name" for item in inputs):
            found[name] = node
    return found


def test_the_input_is_the_same_everywhere(pack_nodes: dict[str, Any], file: Path) -> None:
    nodes = nodes_with_a_lora(pack_nodes)
    assert len(nodes) >= 7
    lists = {}
    for name, node in nodes.items():
        (item,) = [item for item in node.define_schema().inputs if item.id == "lora_name"]
        lists[name] = tuple(option for option in item.options if option != "none")
        assert "fingerprint_inputs" in vars(node), name
        assert ("none" in item.options) == (name in OWN)
    assert len(set(lists.values())) == 1


def test_a_linked_name_has_a_fingerprint_that_stays_until_a_used_file_is_replaced(
    pack_nodes: dict[str, Any], file: Path
) -> None:
    """ComfyUI asks with None: an error there makes it run the node, and all after it, at every queue."""
    from pack.nodes.host.comfyui.lora_input import lora_file

    nodes = nodes_with_a_lora(pack_nodes)
    before = {name: node.fingerprint_inputs(lora_name=None, blocks="") for name, node in nodes.items()}
    assert lora_file("sub/one.safetensors") == str(file)
    assert {name: node.fingerprint_inputs(lora_name=None, blocks="") for name, node in nodes.items()} == before
    write(file, native_lora(seed=4, rank=8, **SIZES))
    after = {name: node.fingerprint_inputs(lora_name=None, blocks="") for name, node in nodes.items()}
    assert all(after[name] != before[name] for name in nodes)
    assert after == {name: node.fingerprint_inputs(lora_name=None, blocks="") for name, node in nodes.items()}


def test_the_config_beside_a_file_is_a_part_of_it(pack_nodes: dict[str, Any], file: Path) -> None:
    from pack.nodes.host.routes import routes

    nodes = nodes_with_a_lora(pack_nodes)
    seen: list[dict[str, Any]] = []
    for text in (None, "{}", '{"r": 4, "lora_alpha": 8}'):
        if text is not None:
            file.with_name("adapter_config.json").write_text(text, encoding="utf-8")
        found = {name: node.fingerprint_inputs(lora_name="sub/one.safetensors") for name, node in nodes.items()}
        seen.append({**found, "routes": routes.find_file("loras", "sub/one.safetensors")})
    for name in seen[0]:
        assert len({str(found[name]) for found in seen}) == 3, name


def test_a_name_from_another_node_need_not_be_as_in_the_list(comfy_in_process: Any, file: Path) -> None:
    from pack.nodes.core.errors import PatchbayError
    from pack.nodes.host.comfyui.lora_input import lora_file

    assert {lora_file(name) for name in ("sub/one.safetensors", "sub\\one.safetensors", "one")} == {str(file)}
    with pytest.raises(PatchbayError, match='lora_name: there is no LoRA "two"'):
        lora_file("two")
    with pytest.raises(PatchbayError, match="lora_name: there is no LoRA"):
        lora_file("../sub/../../etc/passwd")
