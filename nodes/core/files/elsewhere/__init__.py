"""Files that are not on this machine: their addresses, and reading parts of them."""
