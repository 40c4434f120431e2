"""Parts of neural recommenders: blocks, losses, samplers, batches and the only training loop.

These modules import torch at the top; nothing that lists plug-ins may import them (models do, inside functions).
"""
