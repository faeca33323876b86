"""Pure code: standard library, torch, numpy and safetensors only. Nothing here knows ComfyUI."""
