"""Pictures through running ComfyUI servers: one, or several that share the work."""
