"""kohya's sd-scripts, where a LoRA goes on being trained, is merged or resized."""

from __future__ import annotations

from .rule import NO, PART, YES, Program, Rule, both, kinds_beyond, no, of, style

FAMILIES = ("sd15", "sd2", "sdxl", "sdxl_refiner", "flux1", "chroma", "sd3", "lumina2", "anima", "hunyuan_image21")

KOHYA = Program(
    "kohya sd-scripts",
    "of February 2026",
    (
        Rule(NO, both(lambda t: bool(t.architecture), no(of(*FAMILIES))), "it has no network module for this model",
             "networks/lora*.py"),
        Rule(NO, no(style("kohya", "kohya_diffusers")),
             "it reads only names that begin with lora_unet_ or lora_te, joined with underscores",
             "networks/lora.py LORA_PREFIX_UNET, create_network_from_weights"),
        Rule(PART, lambda t: bool(t.magnitudes), "it knows no DoRA and leaves the magnitudes out",
             "networks/lora.py load_state_dict"),
        Rule(PART, kinds_beyond("lora", "locon", "dylora"),
             "it reads LoRA and LoCon; other formats need LyCORIS beside it", "networks/lora.py"),
        Rule(YES, lambda t: True, "", "networks/lora*.py create_network_from_weights"),
    ),
)  # fmt: skip
