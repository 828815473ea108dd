"""Conditional GANs: networks, losses, DiffAugment, training and sampling, for class and scalar labels."""
