"""torch-fidelity's Inception-v3 from a weights file that the user has; nothing is downloaded, nothing is unpickled."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import ConfigError, DataError
from data.files import sha256_of
from generators.fidelity.extraction import Extract, Extracted, Images, extract_layers, need_torch_fidelity

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_AT = "https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0"
#: First digits of the SHA-256 of the published weights, with which alone figures compare with the literature's.
PUBLISHED_SHA256 = "6726825d"
_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_BATCH = 32


def check_inception_weights(path: str | Path | None) -> Path:
    """The weights file, if it is there and its content has the digest that its name says.

    Args:
        path: of the file; ``~`` stands for the home folder.

    Raises:
        ConfigError: with the name of the file, where it is published, where to put it and which key names it.
    """
    remedy = (
        f"download {FILE_NAME} from {PUBLISHED_AT}, put it anywhere, e.g. into ~/.cache/stillhouse, and set "
        f"fidelity.inception_weights to its path, or set fidelity.extractor to 'own'."
    )
    if path is None:
        raise ConfigError(f"fidelity.inception_weights must name a file for fidelity.extractor 'inception'; {remedy}")
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"fidelity.inception_weights must name a file that is there, got '{path}'; {remedy}")
    named = _DIGEST_IN_NAME.search(file.name)
    if named is None:
        raise ConfigError(
            f"fidelity.inception_weights must keep its published name, which ends in the first digits of its SHA-256, "
            f"got '{file.name}'; {remedy}"
        )
    digest = sha256_of(file)
    if not digest.startswith(named.group(1)):
        raise ConfigError(
            f"{file} must have a SHA-256 that begins with {named.group(1)}, as its name says, got {digest[:12]}: the "
            f"file is cut off or another one; {remedy}"
        )
    return file


def inception_extract(path: str | Path | None, device: torch.device) -> tuple[Extract, dict[str, Any]]:
    """Extraction by Inception-v3: 2048 pooled features, and logits without bias for the inception score.

    Source: torch-fidelity's ``inception-v3-compat``, as in the published FID and KID. Differs from its use there in:
    the file is read here, by torch's loader of tensors alone, since torch-fidelity unpickles whatever a file holds;
    grey images are repeated to three channels.

    Args:
        path: of the weights file.
        device: where the network runs.

    Returns:
        The extraction, and what is to be recorded of it: name, digest of the weights, and whether they are the
        published ones.

    Raises:
        ConfigError: if the file is missing or its digest is wrong.
        DataError: if it holds anything but the weights of this network, or torch-fidelity is not installed.
    """
    need_torch_fidelity()
    from torch_fidelity.utils import create_feature_extractor

    file = check_inception_weights(path)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # What torch-fidelity unpickles is what was written here, from checked tensors.
        checked = io.BytesIO()
        torch.save({name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}, checked)
        checked.seek(0)
        extractor = create_feature_extractor(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            cuda=False,
            verbose=False,
            feature_extractor_weights_path=checked,
        )
    except (pickle.UnpicklingError, RuntimeError, AttributeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{file} must hold the weights of torch-fidelity's Inception-v3 and nothing else ({reason}); "
            f"download {FILE_NAME} from {PUBLISHED_AT} again."
        ) from error
    extractor.to(device)

    def extract(images: Images) -> Extracted:
        if images.shape[1] not in (1, 3):
            raise DataError(f"Inception takes grey or RGB images, got {images.shape[1]} channels; try extractor 'own'.")
        coloured = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
        return extract_layers(extractor, coloured, batch_size=_BATCH, device=device)

    return extract, {
        "name": "inception",
        "weights": file.name,
        "weights_sha256": digest,
        "published_weights": digest.startswith(PUBLISHED_SHA256),
    }
