"""Reads and writes files: safetensors, GGUF, pickles, their metadata, hashes and storage formats."""
