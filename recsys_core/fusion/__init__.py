"""Fused models: several recommenders combined into one."""
