"""Save prompts after the text encoder, and load them without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.files.names import file_in_folder
from .core.prompts.conditioning import (
    ConditioningFile,
    add_prompt,
    describe_prompts,
    find_prompt,
    list_prompts,
    load_conditioning_file,
    load_prompt,
    save_conditioning_file,
    summarise,
)
from .host.comfyui.folders import (
    CONDITIONING_FOLDER,
    conditioning_files,
    file_stamp,
    writable_conditioning_folder,
)
from .sockets import CATEGORY


class PatchbaySaveConditioning(io.ComfyNode):
    """Adds one prompt to a file, which may already hold others."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbaySaveConditioning",
            display_name="Save Conditioning (Patchbay)",
            category=CATEGORY,
            description="Saves an encoded prompt under a name, exactly as it is, so that a later run can load it "
            "without the text encoder.",
            search_aliases=["cache prompt", "save prompt", "text encoder", "embeds"],
            is_output_node=True,
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The encoded prompt, from any text encoder node."),
                io.String.Input(
                    "file_name",
                    default="prompts",
                    tooltip="The file in models/patchbay_conditioning, created if it is missing; folder/name makes "
                    "a sub-folder.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    tooltip="The name that Load Conditioning lists; a file can hold many.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="On: a prompt of the same name is replaced. Off: the run stops instead, and the file "
                    "stays as it is.",
                ),
                io.String.Input(
                    "note",
                    default="",
                    optional=True,
                    multiline=True,
                    advanced=True,
                    tooltip="A description of the whole file, kept in its metadata; empty leaves it as it is.",
                ),
            ],
            outputs=[
                io.String.Output("file_name", tooltip="The file as Load Conditioning names it."),
                io.String.Output("text", tooltip="Every prompt in the file, with shape and dtype."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file_name: str | None = None, prompt: str | None = None) -> bool | str:
        if prompt is not None and not prompt.strip():
            return "prompt: a saved conditioning needs a name, by which it is found again."
        try:
            if file_name is not None:
                file_in_folder(writable_conditioning_folder(), file_name)
        except PatchbayError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, conditioning: Any, file_name: str, prompt: str, overwrite: bool, note: str = "") -> io.NodeOutput:
        root = Path(writable_conditioning_folder()).resolve()
        path = file_in_folder(root, file_name)
        name = str(path.relative_to(root))
        elsewhere = folder_paths.get_full_path(CONDITIONING_FOLDER, name)
        if elsewhere and not path.exists():
            raise PatchbayError(
                f"{name}: a file of this name comes with the pack or is in another model folder, and a new one "
                "would hide it. Choose another file name."
            )
        file = load_conditioning_file(path) if path.exists() else ConditioningFile()
        file = add_prompt(file, prompt, conditioning, overwrite=overwrite, note=note)
        save_conditioning_file(path, file)
        text = f"{name}: {_count(len(file.prompts))}\n{describe_prompts(list_prompts(path))}"
        return io.NodeOutput(name, text, ui={"text": [text]})


class PatchbayLoadConditioning(io.ComfyNode):
    """Reads one prompt of a file; no text encoder is loaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayLoadConditioning",
            display_name="Load Conditioning (Patchbay)",
            category=CATEGORY,
            description="Loads a prompt that Save Conditioning saved, bit for bit, so that a run needs no text "
            "encoder.",
            search_aliases=["cached prompt", "load prompt", "text encoder", "embeds"],
            inputs=[
                io.Combo.Input(
                    "file_name",
                    options=conditioning_files(),
                    tooltip="A file of saved prompts from models/patchbay_conditioning.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    tooltip="The name of a prompt in the file; case does not matter, and empty means the first one.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning", tooltip="The encoded prompt, for the model whose text encoder made it."
                ),
                io.String.Output("text", tooltip="The prompt that was loaded, then every prompt in the file."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file_name: str | None = None, prompt: str | None = None) -> bool | str:
        if file_name is None:
            return True
        try:
            names = [summary.name for summary in list_prompts(_full_path(file_name))]
            find_prompt(names, prompt or "", file_name)
        except (PatchbayError, OSError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file_name: str | None, prompt: str | None) -> str | float:
        if file_name is None:
            return float("nan")  # the name comes from another node: look at the file again each time
        return f"{prompt}:{file_stamp(folder_paths.get_full_path(CONDITIONING_FOLDER, file_name))}"

    @classmethod
    def execute(cls, file_name: str, prompt: str) -> io.NodeOutput:
        path = _full_path(file_name)
        loaded = load_prompt(path, prompt)
        listed = list_prompts(path)
        text = "\n".join(
            [
                f"Loaded: {describe_prompts([summarise(loaded)])}",
                f"{file_name}: {_count(len(listed))}",
                describe_prompts(listed),
            ]
        )
        return io.NodeOutput(_as_encoded(loaded.conditioning), text)


def _as_encoded(conditioning: Any) -> Any:
    """With a pooled output in every entry, if only ``None``: ComfyUI's encoders give one, and its older FLUX models
    read it without asking."""
    return [[tensor, {"pooled_output": None, **options}] for tensor, options in conditioning]


def _count(number: int) -> str:
    return "1 prompt" if number == 1 else f"{number} prompts"


def _full_path(file_name: str) -> str:
    if file_name not in conditioning_files():
        raise PatchbayError(
            f'file_name: no file "{file_name}" in models/patchbay_conditioning. Choose another one, or save a prompt '
            "with Save Conditioning first."
        )
    return folder_paths.get_full_path_or_raise(CONDITIONING_FOLDER, file_name)
