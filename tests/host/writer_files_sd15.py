"""LoRA files of diffusers and LyCORIS for a tiny SD 1.5, convolutions included, with what the tools do with them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from writer_files import Deltas, shake

ATTENTION = ["to_k", "to_q", "to_v", "to_out.0"]
"""What the training scripts of diffusers train."""
WIDE = [*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2", "conv_shortcut", "conv"]

PLACES = r"down_blocks.1.(resnets.0|attentions.0|downsamplers.0)..*"
"""Where LyCORIS trains: one layer of every kind is enough, and quicker than all of them."""


def diffusers_unet(weights: Mapping[str, torch.Tensor]) -> tuple[Any, dict[str, str]]:
    """diffusers' UNet with the weights of ComfyUI's, and its parameter names to ComfyUI's full keys.

    The names are paired by diffusers' own converter, which gets a number in the place of each weight.
    """
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    channels = weights["diffusion_model.input_blocks.0.0.weight"].shape[0]
    context = weights["diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    unet = UNet2DConditionModel(
        block_out_channels=tuple(channels * n for n in (1, 2, 4, 4)), cross_attention_dim=context, attention_head_dim=4
    )
    keys = list(weights)
    numbered = {f"model.{key}": torch.full((1,), float(index)) for index, key in enumerate(keys)}
    converted = convert_ldm_unet_checkpoint(numbered, dict(unet.config))
    names = {name: keys[int(tensor)] for name, tensor in converted.items()}
    unet.load_state_dict({name: weights[key].clone() for name, key in names.items()}, strict=True)
    return unet.requires_grad_(False).eval(), names


def _changes(
    after: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], names: Mapping[str, str]
) -> Deltas:
    found = {key: after[name].double() - weights[key].double() for name, key in names.items()}
    return {key: delta for key, delta in found.items() if bool(delta.any())}


def _write_diffusers(
    path: Path, weights: Mapping[str, torch.Tensor], how: str, targets: list[str]
) -> tuple[str, Deltas]:
    from diffusers import StableDiffusionPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet, names = diffusers_unet(weights)
    # Without metadata the alpha has to be the rank, as in diffusers' own training scripts.
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4 if how == "old keys" else 8, target_modules=targets))
    shake(unet, ("lora_",))
    if how == "model":
        unet.save_lora_adapter(str(path))
    else:
        layers = get_peft_model_state_dict(unet)
        more = {} if how == "old keys" else _collate_lora_metadata({"unet": unet})
        layers = convert_state_dict_to_diffusers(layers) if how == "old keys" else layers
        StableDiffusionPipeline.save_lora_weights(str(path), unet_lora_layers=layers, **more)
    unet.fuse_lora()
    unet.unload_lora()
    return str(path / "pytorch_lora_weights.safetensors"), _changes(unet.state_dict(), weights, names)


def _write_lycoris(path: Path, weights: Mapping[str, torch.Tensor], **options: Any) -> tuple[str, Deltas]:
    """The truth is the layer's forward pass, with one pixel lit after the other for a convolution."""
    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    from lycoris import create_lycoris

    unet, names = diffusers_unet(weights)
    state = copy.deepcopy(unet.state_dict())
    preset = path / "preset.toml"
    preset.write_text(f'enable_conv = true\ntarget_module = []\ntarget_name = ["{PLACES}"]\n')
    torch.manual_seed(7)
    network = create_lycoris(
        unet, 1.0, linear_dim=4, linear_alpha=2, conv_dim=4, conv_alpha=2, preset=str(preset), **options
    )
    network.apply_to()
    network.eval()
    shake(network, ("",), 0.05)
    saved = {key: tensor.detach().clone().contiguous() for key, tensor in network.state_dict().items()}
    save_file(saved, str(path / "lycoris.safetensors"), {"ss_network_module": "lycoris.kohya"})
    modules = {id(module): name for name, module in unet.named_modules()}
    with torch.no_grad():
        for lora in network.loras:
            layer, name = lora.org_module[0], modules[id(lora.org_module[0])]
            state[f"{name}.weight"], bias = _parameters_of(lora, layer)
            if f"{name}.bias" in state:
                state[f"{name}.bias"] = bias
    return str(path / "lycoris.safetensors"), _changes(state, weights, names)


def _parameters_of(lora: Any, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias that a trained layer computes with, found from its outputs alone."""
    if isinstance(layer, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
        return _parameters_of_norm(lora, layer)
    if isinstance(layer, torch.nn.Linear):
        bias = lora(torch.zeros(1, layer.in_features))[0]
        return (lora(torch.eye(layer.in_features)) - bias).T, bias
    columns, (height, width) = layer.in_channels, layer.kernel_size
    pixels = torch.eye(columns * height * width).reshape(-1, columns, height, width)
    # The output that saw the whole input: in a picture of the kernel's own size it lies at the padding.
    top, left = (p // s for p, s in zip(layer.padding, layer.stride, strict=True))
    if any(p % s for p, s in zip(layer.padding, layer.stride, strict=True)):  # none does: shift the picture by one
        pixels, top, left = torch.nn.functional.pad(pixels, (1, 0, 1, 0)), 1, 1
    bias = lora(torch.zeros_like(pixels[:1]))[0, :, top, left]
    weight = (lora(pixels)[:, :, top, left] - bias).T
    return weight.reshape(layer.out_channels, columns, height, width), bias


def _parameters_of_norm(lora: Any, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A norm's output is ``weight * normed + bias``: two inputs tell both for every channel."""
    functional = torch.nn.functional
    if isinstance(layer, torch.nn.GroupNorm):
        x = torch.randn(2, layer.num_channels, 1, 8, generator=torch.Generator().manual_seed(2))
        normed, out = functional.group_norm(x, layer.num_groups, eps=layer.eps), lora(x)
        normed, out = (t[:, :, 0, 0] for t in (normed, out))
    else:
        x = torch.randn(2, *layer.normalized_shape, generator=torch.Generator().manual_seed(2))
        normed, out = functional.layer_norm(x, layer.normalized_shape, eps=layer.eps), lora(x)
    weight = (out[0] - out[1]) / (normed[0] - normed[1])
    return weight, out[0] - weight * normed[0]


_LYCORIS = {
    "locon": {"algo": "locon"}, "tucker": {"algo": "locon", "use_tucker": True}, "loha": {"algo": "loha"},
    "loha_tucker": {"algo": "loha", "use_tucker": True}, "lokr": {"algo": "lokr", "factor": 4},
    "lokr_tucker": {"algo": "lokr", "factor": 4, "use_tucker": True}, "full": {"algo": "full"},
    "locon_dora": {"algo": "locon", "dora_wd": True}, "loha_dora": {"algo": "loha", "dora_wd": True},
    "lokr_dora": {"algo": "lokr", "factor": 4, "dora_wd": True},
    "tucker_dora": {"algo": "locon", "use_tucker": True, "dora_wd": True}, "glora": {"algo": "glora"},
    "oft": {"algo": "diag-oft"}, "boft": {"algo": "boft"}, "ia3": {"algo": "ia3"},
    "norms": {"algo": "locon", "train_norm": True},
}  # fmt: skip
_DIFFUSERS = {
    "old_keys": ("old keys", ATTENTION), "pipeline": ("pipeline", ATTENTION), "model": ("model", ATTENTION),
    "model_wide": ("model", WIDE),
}  # fmt: skip
SD15_FILES = (*(f"sd15_diffusers_{name}" for name in _DIFFUSERS), *(f"sd15_lycoris_{name}" for name in _LYCORIS))
"""Every kind of file for SD 1.5 that the installed tools write; ``old_keys`` is ``unet.….to_k.lora.down.weight``."""


def write_sd15_file(name: str, folder: Path, weights: Mapping[str, torch.Tensor]) -> tuple[str, Deltas]:
    """The file ``name`` of :data:`SD15_FILES`, written into ``folder``, and what its tool does with it.

    Args:
        weights: Of ComfyUI's model, by full key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _, tool, case = name.split("_", 2)
    if tool == "lycoris":
        return _write_lycoris(folder, weights, **_LYCORIS[case])
    return _write_diffusers(folder, weights, *_DIFFUSERS[case])
