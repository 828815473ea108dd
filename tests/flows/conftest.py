"""A tiny experiment on real digits, for tests of plans, commands and whole runs."""

import copy

import pytest
import yaml

TINY = {
    "name": "tiny",
    "compute": {"precision": "fp32", "checkpoint_seconds": 0},
    "source": {"kind": "digits"},
    "prepare": {"labels_per_class": 5, "validation_images": 30, "test_images": 100},
    "teacher": {"network": "convnet", "options": {"channels": 4}, "training": {"steps": 6, "warmup_steps": 1}},
    "generator": {"options": {"width": 8, "latent_size": 8}, "steps": 3, "batch_size": 8},
    "features": {"width": 4, "steps": 4},
    "fidelity": {"images": 60},
    "ratio": {"pool_rounds": 2, "widths": [32], "steps": 4, "batch_size": 16},
    "candidates": {"per_label": 12, "burn_in": 16},
    "assess": {"latency_batches": [1], "latency_repeats": 2},
    "distill": {
        "students": [{"name": "small", "network": "convnet", "options": {"channels": 2}}],
        "seeds": [0, 1],
        "training": {"steps": 5, "warmup_steps": 1, "batch_size": 8},
    },
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Writes the tiny experiment, with sections changed, and returns the path of its file."""

    def write(**sections):
        document = copy.deepcopy(TINY)
        for name, section in sections.items():
            if isinstance(section, dict):
                document[name] = {**document.get(name, {}), **section}
            else:
                document[name] = section
        path = tmp_path_factory.mktemp("config") / "tiny.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write
