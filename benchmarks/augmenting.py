"""Crop, flip and normalise: whole batches as the students do it, beside torchvision sample by sample.

    OMP_NUM_THREADS=1 python benchmarks/augmenting.py

writes ``benchmarks/results/augmenting.json``: microseconds an image on one thread, batches of 128. Every way pads by an
eighth of the side, crops at random, mirrors at random and normalises, from uint8 to float32. torchvision's transforms
draw for one image at a time, v2 on tensors, v1 on PIL images as the release of cGAN-KD does; v2 on a whole batch is no
way, since it draws one crop for all.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from record import write_record
from rounds import Copy, beginning, interleaved, rate, ratios, spread
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2

from data.batches import random_shift_flip
from students.model import ImageModel

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--sizes", type=int, nargs="+", default=(32, 64))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each way in each round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    figures = {f"3x{size}x{size}": measure(size, options) for size in options.sizes}
    first = figures[f"3x{options.sizes[0]}x{options.sizes[0]}"]
    sentence = (
        f"Crop, flip and normalise take {first['whole batch']['microseconds_per_image']['median']} us an image of "
        f"{options.sizes[0]} pixels a side, {first['torchvision v2, sample by sample']['times_slower']['median']:.1f} "
        f"times less than torchvision v2 sample by sample and "
        f"{first['torchvision v1 on PIL, sample by sample']['times_slower']['median']:.1f} times less than v1."
    )
    packages = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    record = {**beginning("augmenting", vars(options), packages), "sentence": sentence, "figures": figures}
    write_record("augmenting", record)


def measure(size: int, options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Every way for images of one size."""
    pad, batch = size // 8, options.batch
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=rng)
    # The network is left out: what is timed is what the students do before it.
    model = ImageModel(nn.Identity(), {}, MEAN, STD)
    mean, std = [value / 255 for value in MEAN], [value / 255 for value in STD]
    second = v2.Compose(
        [
            v2.RandomCrop(size, padding=pad),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    first = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=pad),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()

    @torch.inference_mode()
    def whole() -> Tensor:
        return model.standard_outputs(random_shift_flip(images, pad, True, rng))

    def moved() -> Tensor:
        return random_shift_flip(images, pad, True, rng)

    @torch.inference_mode()
    def normalised() -> Tensor:
        return model.standard_outputs(images)

    def by_gathering() -> Tensor:
        return model.standard_outputs(gathered(images, pad, rng))

    made = {
        "whole batch": whole,
        "crop and flip alone": moved,
        "normalise alone": normalised,
        "whole batch, by one gather of torch": torch.inference_mode()(by_gathering),
        "torchvision v2, sample by sample": lambda: torch.stack([second(image) for image in images]),
        "torchvision v1 on PIL, sample by sample": lambda: torch.stack(
            [first(Image.fromarray(image)) for image in pixels]
        ),
    }

    def timed(name: str) -> float:
        def step(number: int) -> int:
            del number
            made[name]()
            return batch

        return rate(step, options.seconds, 0)

    assert np.isfinite(whole().numpy()).all()
    ways = {name: lambda round_, name=name: timed(name) for name in made}
    copies, rates = interleaved(ways, options.rounds, Copy())
    print(f"{size} pixels, copy {np.median(copies) / 1e9:.1f} GB/s")
    return {
        name: {
            "microseconds_per_image": spread([1e6 / value for value in values], 2),
            "times_slower": ratios(rates["whole batch"], values, 2),
        }
        for name, values in rates.items()
    }


def gathered(images: Tensor, pad: int, rng: torch.Generator) -> Tensor:
    """Crops and mirrors by one gather, as on a GPU."""
    batch, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    top, left = (torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng) for _ in range(2))
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    cropped = padded[torch.arange(batch)[:, None, None, None], torch.arange(channels)[:, None, None], rows, columns]
    return torch.where(torch.rand(batch, 1, 1, 1, generator=rng) < 0.5, cropped.flip(3), cropped)


if __name__ == "__main__":
    main()
