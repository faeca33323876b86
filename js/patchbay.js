// Entry of LoRA Patchbay's web side. ComfyUI imports every .js below this folder: the rest are .mjs.

import { extension } from "./lib/extension.mjs";
import { app } from "./lib/comfyui/app.mjs";

app.registerExtension(extension);
