"""Runs sweeps on real models: strengths change, everything else stays."""
