"""Training a GAN conditioned on a scalar label (CcGAN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from generators.adversarial import Draw, train_adversarially
from generators.card import describe_network, save_generator
from generators.embedding import train_label_embedding
from generators.networks import build_network
from generators.vicinity import SoftVicinity


def train_continuous_gan(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.float32],
    label_space: LabelSpace,
    *,
    network: str = "ccgan_sngan",
    network_options: Mapping[str, Any] | None = None,
    steps: int = 3000,
    batch_size: int = 32,
    discriminator_steps: int = 1,
    generator_learning_rate: float = 4e-4,
    discriminator_learning_rate: float = 4e-4,
    first_momentum: float = 0.0,
    ema_decay: float = 0.999,
    augment: Sequence[str] = ("translation",),
    sigma_label: float | None = None,
    kappa: float | None = None,
    vicinity_multiplier: float = 2.0,
    embedding_width: int = 16,
    embedding_image_steps: int = 300,
    embedding_label_steps: int = 600,
    embedding_batch_size: int = 128,
    embedding_learning_rate: float = 1e-3,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> dict[str, float]:
    """Trains a continuous conditional GAN and writes ``generator.safetensors`` and ``generator.json``.

    Source: Ding et al., 2023, arXiv 2011.07466: soft vicinal discriminator loss (SVDL) and improved label input
    (ILI), with the hinge loss and DiffAugment of cGAN-KD (Ding et al., 2021, arXiv 2104.03164). Differs from
    it: vectorised vicinities of any label range, a small image network for the embedding, averaged weights.

    Args:
        images: uint8 (N, C, H, W), square with a side of 8, 16, 32, 64 or 128.
        labels: in the label space's own unit, float32 (N,).
        label_space: of ``labels``; its range is normalised to [0, 1].
        network: registered name of the network, which must have the option ``embedding_size``.
        network_options: its options; others keep their defaults.
        steps: generator steps.
        batch_size: images a step.
        discriminator_steps: discriminator steps before each generator step.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        first_momentum: Adam's beta 1.
        ema_decay: largest decay of the weight average.
        augment: DiffAugment operations, some of "color", "translation", "cutout"; empty for none.
        sigma_label: standard deviation of the noise on targets, in normalised units; None for the rule of thumb.
        kappa: half-width of a vicinity, in normalised units; None for the rule of thumb.
        vicinity_multiplier: m_kappa, how many of the largest label gaps the half-width spans.
        embedding_width: channels of the embedding's image network at the image's own side.
        embedding_image_steps: its training steps.
        embedding_label_steps: training steps of the label network.
        embedding_batch_size: images, or labels, a step of these two.
        embedding_learning_rate: of Adam, for these two.
        seed: of everything random.
        compute: device and precision.
        workspace: folder of the artifact, logs and checkpoints.

    Returns:
        The last logged d_loss, g_loss, mean scores d_real and d_fake, and the bandwidths sigma_label and kappa.

    Raises:
        ConfigError: for an unknown network, option or operation, or images of an unfit size.
        DataError: if all labels are equal.
        StageError: if a loss becomes non-finite.
    """
    image_shape = cast(tuple[int, int, int], images.shape[1:])
    normalised = label_space.normalise(labels.astype(np.float64)).astype(np.float32)
    vicinity = SoftVicinity(normalised, sigma=sigma_label, kappa=kappa, multiplier=vicinity_multiplier)
    pair = build_network(network, network_options or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        generator = pair.generator(image_shape, label_space)
        discriminator = pair.discriminator(image_shape, label_space)
    embedding = train_label_embedding(
        images,
        normalised,
        size=pair.embedding_size,  # type: ignore[attr-defined]
        width=embedding_width,
        image_steps=embedding_image_steps,
        label_steps=embedding_label_steps,
        batch_size=embedding_batch_size,
        learning_rate=embedding_learning_rate,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    for network_half in (generator, discriminator):
        half_embedding = cast(nn.Module, network_half.embedding)
        half_embedding.load_state_dict(embedding.state_dict())

    def draw(step: int) -> Draw:
        drawn = vicinity.draw(batch_size, np.random.default_rng(derive_seed(seed, "discriminator", step)))
        return Draw(drawn.rows, drawn.targets, drawn.fake_labels, drawn.real_weights, drawn.fake_weights)

    def aim(step: int) -> npt.NDArray[np.float32]:
        rng = np.random.default_rng(derive_seed(seed, "aim", step))
        return vicinity.targets(batch_size, rng).astype(np.float32)

    averaged, numbers = train_adversarially(
        images,
        generator,
        discriminator,
        draw=draw,
        aim=aim,
        latent_size=pair.latent_size,
        steps=steps,
        discriminator_steps=discriminator_steps,
        generator_learning_rate=generator_learning_rate,
        discriminator_learning_rate=discriminator_learning_rate,
        first_momentum=first_momentum,
        ema_decay=ema_decay,
        augment=augment,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    training = {
        "images": len(labels),
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "sigma_label": vicinity.sigma,
        "kappa": vicinity.kappa,
    }
    save_generator(workspace.folder, describe_network(network, pair, image_shape, label_space, training), averaged)
    return {**numbers, "sigma_label": vicinity.sigma, "kappa": vicinity.kappa}
