"""Features through torch-fidelity, with the project's own network registered there as a feature extractor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from data.errors import DataError
from generators.fidelity.kernels import FeatureScale

#: Name under which the project's own network is registered with torch-fidelity.
OWN = "stillhouse"
Images = npt.NDArray[np.uint8]
#: Images uint8 (n, C, H, W) to numbers (n, F).
NetworkFunction = Callable[[Images], npt.NDArray[np.floating[Any]]]


class Extracted(NamedTuple):
    """What a network says of n images.

    Attributes:
        features: float32 (n, F).
        logits: float32 (n, K) of its classes; None where it has none.
    """

    features: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] | None = None


Extract = Callable[[Images], Extracted]


def has_torch_fidelity() -> bool:
    """Whether torch-fidelity is installed."""
    return find_spec("torch_fidelity") is not None


def need_torch_fidelity() -> None:
    """Raises DataError with the remedy if torch-fidelity is not installed."""
    if not has_torch_fidelity():
        raise DataError(
            "FID, KID, precision, recall and the inception score need torch-fidelity, which is not installed; "
            "try pip install torch-fidelity."
        )


class ImageDataset(Dataset[Tensor]):
    """Images as torch-fidelity takes them: uint8 tensors (C, H, W)."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def __getitem__(self, row: int) -> Tensor:
        """The image of a row; a copy, since arrays may be read-only."""
        return torch.from_numpy(np.array(self._images[row]))


@cache
def register_own_network() -> str:
    """Registers the extractor ``stillhouse`` with torch-fidelity, once, and returns its name.

    The networks come in as the keyword arguments ``network`` and, for the inception score, ``classifier`` of
    ``torch_fidelity.calculate_metrics`` or ``create_feature_extractor``: functions from uint8 (n, C, H, W) to
    (n, F) and (n, K). Images stay as they are, grey or not, of any side.
    """
    from torch_fidelity import FeatureExtractorBase, register_feature_extractor

    class OwnNetwork(FeatureExtractorBase):  # type: ignore[misc]
        """The project's own network in the form that torch-fidelity calls."""

        def __init__(
            self,
            name: str,
            features_list: list[str],
            network: NetworkFunction,
            classifier: NetworkFunction | None = None,
            **others: Any,
        ) -> None:
            del others
            super().__init__(name, features_list)
            self._functions = {"features": network, "logits": classifier}

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            rows = images.cpu().numpy()
            functions = [self._functions[name] for name in self.features_list]
            return tuple(
                torch.from_numpy(np.array(function(rows), np.float32)) for function in functions if function is not None
            )

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> Tensor:
            return torch.zeros(1, 1, 8, 8, dtype=torch.uint8)

    register_feature_extractor(OWN, OwnNetwork)
    return OWN


def own_extract(
    network: NetworkFunction, classifier: NetworkFunction | None = None, *, reference: Images | None = None
) -> Extract:
    """Extraction by the project's own network; without torch-fidelity the functions are called directly.

    Args:
        network: images to features (n, F).
        classifier: images to logits of classes (n, K), if the inception score is to have a classifier of its own.
        reference: images whose features become centred with root mean square 1; None leaves features as they are.
            The size of a network's features is an accident of its training, but the kernel of KID depends on it.
    """
    scale = None if reference is None else FeatureScale.of(network(reference))

    def features(images: Images) -> npt.NDArray[np.floating[Any]]:
        return network(images) if scale is None else scale(network(images))

    if not has_torch_fidelity():
        functions = (features,) if classifier is None else (features, classifier)
        return lambda images: Extracted(*(np.asarray(function(images), np.float32) for function in functions))
    from torch_fidelity.utils import create_feature_extractor

    layers = ["features"] if classifier is None else ["features", "logits"]
    extractor = create_feature_extractor(
        register_own_network(), layers, cuda=False, verbose=False, network=features, classifier=classifier
    )
    return lambda images: extract_layers(extractor, images, batch_size=256, device=torch.device("cpu"))


def extract_layers(extractor: nn.Module, images: Images, *, batch_size: int, device: torch.device) -> Extracted:
    """The requested layers of a torch-fidelity extractor, of many images, in this process and without its cache.

    Args:
        extractor: made with one layer of features and, if logits are wanted, a second of logits.
        images: uint8 (n, C, H, W), n at least 1.
        batch_size: images a forward pass.
        device: where the extractor lies.
    """
    from torch_fidelity.utils import get_featuresdict_from_dataset

    on_gpu = device.type == "cuda"
    with torch.cuda.device(device if on_gpu else -1):
        # save_cpu_ram keeps torch-fidelity from forking workers for images that are in memory anyway.
        layers = get_featuresdict_from_dataset(
            ImageDataset(images), extractor, batch_size, cuda=on_gpu, save_cpu_ram=True, verbose=False
        )
    arrays = [layer.float().numpy() for layer in layers.values()]
    return Extracted(arrays[0], arrays[1] if len(arrays) > 1 else None)
