"""LoRA files written by the real tools (PEFT, diffusers, LyCORIS) for a tiny FLUX.2 model, with what they mean.

The truth is what the tool itself does with its own adapter: its merge or, for LyCORIS, its forward pass as in training.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Deltas = dict[str, torch.Tensor]
TARGETS = (
    r".*(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out|to_qkv_mlp_proj|single_transformer_blocks\.\d+\.attn\.to_out"
    r"|linear_in|linear_out|x_embedder|context_embedder|proj_out|norm_out\.linear|timestep_embedder\.linear_[12]"
    r"|double_stream_modulation_(img|txt)\.linear|single_stream_modulation\.linear)$"
)


def diffusers_model(bfl: Mapping[str, torch.Tensor]) -> Any:
    """diffusers' own FLUX.2 transformer with the weights of ``bfl`` (Black Forest Labs' key names)."""
    from diffusers import Flux2Transformer2DModel
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers as convert

    hidden, context = bfl["txt_in.weight"].shape
    model = Flux2Transformer2DModel(
        in_channels=128,
        num_layers=1 + max(int(k.split(".")[1]) for k in bfl if k.startswith("double_blocks.")),
        num_single_layers=1 + max(int(k.split(".")[1]) for k in bfl if k.startswith("single_blocks.")),
        num_attention_heads=hidden // 128,
        joint_attention_dim=context,
        guidance_embeds=False,
    )
    model.load_state_dict(convert({key: tensor.clone() for key, tensor in bfl.items()}), strict=True)
    return model.requires_grad_(False).eval()


def to_bfl(state: Mapping[str, torch.Tensor], bfl: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A diffusers state dict under Black Forest Labs' names, by running diffusers' converter on each key alone."""
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers as convert

    result = {}
    for key, tensor in bfl.items():
        joined = torch.cat([state[name] for name in convert({key: tensor.clone()})])
        result[key] = torch.cat(joined.chunk(2)[::-1]) if "adaLN" in key else joined
    return result


def difference(merged: Mapping[str, torch.Tensor], bfl: Mapping[str, torch.Tensor]) -> Deltas:
    """What a tool added, under ComfyUI's full keys; weights that it left alone are left out."""
    deltas = {key: tensor.double() - bfl[key].double() for key, tensor in to_bfl(merged, bfl).items()}
    return {f"diffusion_model.{key}": delta for key, delta in deltas.items() if bool(delta.any())}


def shake(module: Any, names: tuple[str, ...], size: float = 0.1, seed: int = 3) -> None:
    """Add seeded noise to the adapter's parameters, so that nothing in it is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if any(part in name for part in names):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(noise.to(parameter.dtype) * size)


def write_raw_peft(folder: Path, bfl: Mapping[str, torch.Tensor], config: Any, size: float = 0.1) -> tuple[str, Deltas]:
    """A file by PEFT's ``save_pretrained``, with its ``adapter_config.json``, and PEFT's own merge."""
    from peft import get_peft_model

    model = get_peft_model(diffusers_model(bfl), config)
    shake(model, ("lora_", "hada_", "lokr_", "oft_R", "boft_", "ia3_l"), size)
    model.save_pretrained(str(folder))
    merged = copy.deepcopy(model).merge_and_unload().state_dict()
    return str(folder / "adapter_model.safetensors"), difference(merged, bfl)


def write_diffusers(folder: Path, bfl: Mapping[str, torch.Tensor], config: Any, pipeline: bool) -> tuple[str, Deltas]:
    """A file by ``save_lora_adapter`` or ``save_lora_weights``, and diffusers' own fusing."""
    from diffusers import Flux2Pipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft.utils import get_peft_model_state_dict

    model = diffusers_model(bfl)
    model.add_adapter(config)
    shake(model, ("lora_",))
    if pipeline:
        Flux2Pipeline.save_lora_weights(
            str(folder), transformer_lora_layers=get_peft_model_state_dict(model),
            **_collate_lora_metadata({"transformer": model}),
        )  # fmt: skip
    else:
        model.save_lora_adapter(str(folder))
    model.fuse_lora()
    model.unload_lora()
    return str(folder / "pytorch_lora_weights.safetensors"), difference(model.state_dict(), bfl)


def write_lycoris(path: Path, bfl: Mapping[str, torch.Tensor], size: float = 0.1, **options: Any) -> tuple[str, Deltas]:
    """A file by LyCORIS' network, and its forward pass: LyCORIS 4.1 scales a LoHa twice when it merges."""
    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    from lycoris import create_lycoris

    model = diffusers_model(bfl)
    state = dict(model.state_dict())
    torch.manual_seed(7)
    network = create_lycoris(model, 1.0, linear_dim=4, linear_alpha=2, **options)
    network.apply_to()
    network.eval()
    shake(network, ("",), size)
    saved = {key: tensor.detach().clone().contiguous() for key, tensor in network.state_dict().items()}
    save_file(saved, str(path), {"ss_network_module": "lycoris.kohya"})
    names = {id(module): name for name, module in model.named_modules()}
    with torch.no_grad():
        for lora in network.loras:
            linear = lora.org_module[0]
            state[f"{names[id(linear)]}.weight"] = lora(torch.eye(linear.in_features)).T
    return str(path), difference(state, bfl)


RAW_PEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {}),
    "rslora": ("LoraConfig", {"use_rslora": True}),
    "dora": ("LoraConfig", {"use_dora": True}),
    "patterns": (
        "LoraConfig",
        {
            "rank_pattern": {r"transformer_blocks\.0\.attn\.to_q": 8},
            "alpha_pattern": {r"transformer_blocks\.0\.attn\.to_q": 32},
        },
    ),
    "loha": ("LoHaConfig", {"r": 4, "alpha": 2}),
    "lokr": ("LoKrConfig", {"r": 4, "alpha": 2}),
    "lokr_whole": ("LoKrConfig", {"r": 64, "alpha": 32}),
    "oft": ("OFTConfig", {"r": 0, "oft_block_size": 8}),
    "oft_exact": ("OFTConfig", {"r": 0, "oft_block_size": 8, "use_cayley_neumann": False}),
    "oft_three_terms": ("OFTConfig", {"r": 0, "oft_block_size": 8, "num_cayley_neumann_terms": 3}),
    "oft_shared": ("OFTConfig", {"r": 0, "oft_block_size": 8, "block_share": True}),
    "boft": ("BOFTConfig", {"boft_block_size": 8}),
    "ia3": ("IA3Config", {"feedforward_modules": r".*(linear_out|to_out\.0)$"}),
}
DIFFUSERS = ("lora", "rslora", "dora", "patterns")
LYCORIS: dict[str, dict[str, Any]] = {
    "lora": {"algo": "locon"},
    "lora_dora": {"algo": "locon", "dora_wd": True},
    "lora_dora_columns": {"algo": "locon", "dora_wd": True, "wd_on_output": False},
    "loha": {"algo": "loha"},
    "loha_dora": {"algo": "loha", "dora_wd": True},
    "lokr": {"algo": "lokr"},
    "lokr_whole": {"algo": "lokr", "full_matrix": True, "factor": 8},
    "lokr_dora": {"algo": "lokr", "dora_wd": True, "factor": 8},
    "oft": {"algo": "diag-oft"},
    "oft_bounded": {"algo": "diag-oft", "constraint": 0.001},
    "oft_rescaled": {"algo": "diag-oft", "rescaled": True},
    "boft": {"algo": "boft"},
    "boft_bounded": {"algo": "boft", "constraint": 0.001},
    "boft_rescaled": {"algo": "boft", "rescaled": True},
    "glora": {"algo": "glora"},
    "ia3": {"algo": "ia3"},
    "full": {"algo": "full"},
}
TOOL_FILES = (
    *(f"peft_raw_{name}" for name in RAW_PEFT),
    *(f"diffusers_{style}_{name}" for style in ("model", "pipeline") for name in DIFFUSERS),
    *(f"lycoris_{name}" for name in LYCORIS),
)
"""Every kind of file that the installed tools write."""


def kind_of_file(name: str) -> str:
    """What a file's arithmetic is, whichever tool wrote it under which names: the word that says it in its name."""
    words = re.split(r"[_.]", name.replace("diag_oft", "oft"))
    of_tools = {"peft", "raw", "diffusers", "lycoris", "model", "pipeline", "comfyui", "trainer", "musubi", "sd15"}
    return next((word for word in words if word not in of_tools), name) + (" dora" if "dora" in words[1:] else "")


def write_tool_file(name: str, folder: Path, bfl: Mapping[str, torch.Tensor]) -> tuple[str, Deltas]:
    """The file ``name`` of :data:`TOOL_FILES`, written into ``folder``, and what its tool does with it."""
    folder.mkdir(parents=True, exist_ok=True)
    if name.startswith("peft_raw_"):
        return write_raw_peft(folder, bfl, _peft_config(name.removeprefix("peft_raw_")))
    if name.startswith("diffusers_"):
        _, style, case = name.split("_", 2)
        return write_diffusers(folder, bfl, _peft_config(case), style == "pipeline")
    options = dict(LYCORIS[name.removeprefix("lycoris_")])
    target = 'target_module = ["Linear"]\ntarget_name = []\n'
    if options["algo"] == "boft":  # it needs powers of two as widths
        target = 'target_module = []\ntarget_name = [".*attn.to_[qkv]$"]\n'
    preset = folder / "preset.toml"
    preset.write_text("enable_conv = false\n" + target)
    options["preset"] = str(preset)
    return write_lycoris(folder / "lycoris.safetensors", bfl, **options)


def _peft_config(case: str) -> Any:
    import peft

    kind, options = RAW_PEFT[case]
    if kind == "LoraConfig":
        options = {"r": 4, "lora_alpha": 8, "init_lora_weights": False, **options}
    elif kind in ("LoHaConfig", "LoKrConfig"):
        options = {"init_weights": False, **options}
    return getattr(peft, kind)(target_modules=TARGETS, **options)
