"""Block-strength presets over HTTP, for the preset menu and the strength editor.

The contract, typed in ``js/types/presets.d.ts`` (version 1):

``GET /patchbay/presets``
    Shipped presets, then those of the user who asks (ComfyUI's user, as for its own settings).
``POST /patchbay/presets`` ``{name, blocks, description?, overwrite?}``
    Saves a user preset and answers with it. 400: the name or the block strengths are not valid; 409: the name is taken
    and ``overwrite`` is not true; 413: the body is too large.
``DELETE /patchbay/presets?name=NAME``
    Deletes a user preset. 404: there is none of this name.
``GET /patchbay/strengths/formats``
    The community formats that can be read and written.
``POST /patchbay/strengths/convert`` ``{text, from?, to?}``
    Text of a community format to the text form, or back. ``lost`` lists what cannot be carried over.

Every error is ``{"error": "one sentence"}``. No route reads or writes anything but the one file of user presets,
``lora-patchbay/block-presets.json`` in the user's folder.
"""
