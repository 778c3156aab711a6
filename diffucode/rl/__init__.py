"""Reinforcement learning of diffusion and autoregressive policies."""
