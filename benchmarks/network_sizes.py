"""Prints parameters and multiply-adds of the networks of the zoo, as a Markdown table.

    python benchmarks/network_sizes.py [--channels 3] [--side 32] [--outputs 100]

Nothing is timed: the numbers follow from the architectures and are the same on every machine. The table of
``docs/networks.md`` is its output.
"""

from __future__ import annotations

import argparse

from students.cost import multiply_adds
from students.model import parameter_count
from students.networks import make_network

#: The name of the literature, and the network with its options here.
ZOO: list[tuple[str, str, dict[str, int | float | str]]] = [
    *((f"ResNet-{depth}", "resnet", {"depth": depth}) for depth in (8, 14, 20, 32, 44, 56, 110)),
    *((f"ResNet-{depth}x4", "resnet", {"depth": depth, "width": 64, "stem": 32}) for depth in (8, 14, 32)),
    *(
        (f"WRN-{depth}-{widen}", "wide_resnet", {"depth": depth, "widen": widen})
        for depth, widen in ((16, 1), (16, 2), (40, 1), (40, 2), (28, 10))
    ),
    *((f"VGG-{depth}", "vgg", {"depth": depth}) for depth in (8, 11, 13, 16, 19)),
    ("MobileNetV2 0.5", "mobilenet_v2", {}),
    ("MobileNetV2 1", "mobilenet_v2", {"width": 1.0}),
    ("ShuffleNet", "shufflenet_v1", {}),
    *((f"ShuffleNetV2 {width}", "shufflenet_v2", {"width": width}) for width in ("0.5", "1", "1.5", "2")),
]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Parameters and multiply-adds of the networks of the zoo.")
    parser.add_argument("--channels", type=int, default=3, help="channels of the images")
    parser.add_argument("--side", type=int, default=32, help="height and width of the images")
    parser.add_argument("--outputs", type=int, default=100, help="number of outputs")
    arguments = parser.parse_args()
    shape = (arguments.channels, arguments.side, arguments.side)
    print("| network | `network` | `options` | parameters | multiply-adds |\n|---|---|---|---:|---:|")
    for name, network, options in ZOO:
        built = make_network(network, options, shape, arguments.outputs)
        written = ", ".join(
            f"{key}: {value!r}" if isinstance(value, str) else f"{key}: {value}" for key, value in options.items()
        )
        cells = (
            name,
            f"`{network}`",
            f"`{{{written}}}`",
            f"{parameter_count(built):,}",
            f"{multiply_adds(built, shape):,}",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
