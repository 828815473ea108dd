"""The result of an ablation: one self-contained page, the same numbers as JSON, and its plot as a picture.

``build.build_ablation`` makes them from ``inputs.AblationInputs``.
"""
