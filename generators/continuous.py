"""Training a GAN conditioned on a continuous label: a scalar, a vector, or a class with a scalar (CcGAN)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from generators.embedding import train_label_embedding
from generators.fidelity.judge import Judge
from generators.fitting import build_pair, fit_pair
from generators.objective import Objective
from generators.recipe import Recipe, RecipeOptions
from generators.turns import Draw
from generators.vicinities import Form, make_vicinity


def train_continuous_gan(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.float32],
    label_space: LabelSpace,
    *,
    network: str = "ccgan_sngan",
    network_options: Mapping[str, Any] | None = None,
    loss: str = "hinge",
    vicinity: Form = "soft",
    vicinity_images: int | None = None,
    sigma_label: float | Sequence[float] | None = None,
    kappa: float | Sequence[float] | None = None,
    vicinity_multiplier: float = 2.0,
    label_regression_weight: float = 0.0,
    density_ratio_weight: float = 0.0,
    embedding_width: int = 16,
    embedding_image_steps: int = 300,
    embedding_label_steps: int = 600,
    embedding_batch_size: int = 128,
    embedding_learning_rate: float = 1e-3,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None = None,
    judge: Judge | None = None,
    warn: Callable[[str], None] | None = None,
    compile_networks: bool = False,
    seed: int,
    compute: Compute,
    workspace: Workspace,
    **recipe: Unpack[RecipeOptions],
) -> dict[str, Any]:
    """Trains a continuous conditional GAN and writes ``generator.safetensors`` and ``generator.json``.

    Source: Ding et al., 2023, arXiv 2011.07466: vicinal discriminator losses (HVDL, SVDL) and improved label input
    (ILI), with the hinge loss and DiffAugment of cGAN-KD (Ding et al., 2021, arXiv 2104.03164), and of CcGAN-AVAR (Ding
    et al., 2025, arXiv 2508.01725) the adaptive vicinity and the two further heads. Differs from them: vectorised
    vicinities of any label range, vectors and classes with scalars, a small image network for the embedding, and
    the averaged weights of the best snapshot are what is saved.

    Args:
        images: uint8 (N, C, H, W), square with a side of 8, 16, 32, 64 or 128.
        labels: a column of the label space in its own units, float32 (N,), (N, L) or (N, 2).
        label_space: of ``labels``; its ranges are normalised to [0, 1].
        network: registered name of the network.
        network_options: its options; others keep their defaults.
        loss: adversarial loss, "hinge" or "non_saturating".
        vicinity: "hard", "soft" or "hybrid": what images near a target label weigh.
        vicinity_images: an adaptive half-width, for each target as wide as this many images need; None for a fixed one.
        sigma_label: standard deviation of the noise on targets, in normalised units, one number or one a dimension;
            None for the rule of thumb.
        kappa: half-width of a fixed vicinity, in normalised units, one number or one a dimension; None for the
            rule of thumb.
        vicinity_multiplier: m_kappa, how many of the largest label gaps the half-width spans.
        label_regression_weight: of a head of the discriminator that predicts the label; 0 for no such head.
        density_ratio_weight: of a head that estimates the density ratio; 0 for no such head. With one,
            ``discriminator.safetensors`` is written too.
        embedding_width: channels of the embedding's image network at the image's own side.
        embedding_image_steps: its training steps.
        embedding_label_steps: training steps of the label network.
        embedding_batch_size: images, or labels, a step of these two.
        embedding_learning_rate: of Adam, for these two.
        validation: images and labels that nobody trains on; they tell whether the discriminator memorises.
        judge: (steps done, function that samples the averaged weights) to named numbers, at each snapshot; the one with
            the least "distance" is saved. None saves the last weights.
        warn: is told once, in a sentence, of each thing that goes wrong; see ``health``.
        compile_networks: whether torch.compile makes both networks faster.
        seed: of everything random.
        compute: device and precision.
        workspace: folder of the artifact, with its logs, ``snapshots.jsonl`` and ``warnings.json``, and of the
            checkpoints.
        **recipe: fields of ``Recipe``; those that are left out have its defaults, but 3000 steps and
            the translation alone as augmentation.

    Returns:
        The last logged d_loss, g_loss, mean scores d_real and d_fake, and further numbers of the log; steps_done,
        stopped_by, chosen_step and what the judge said of it; the bandwidths of the vicinity.

    Raises:
        ConfigError: for an unknown network, option or operation, a network that does not serve such labels, a setting
            out of its range, or images of an unfit size.
        DataError: if all labels are equal.
        StageError: if a loss becomes non-finite.
    """
    defaults: RecipeOptions = {"steps": 3000, "augment": ("translation",)}
    settings = Recipe(**(defaults | recipe))
    if label_space.kind == "class":
        raise ConfigError("labels must have a continuous part, got a class label space; try generator.kind class_gan.")
    objective = Objective(
        label_space,
        loss,
        label_regression_weight=label_regression_weight,
        density_ratio_weight=density_ratio_weight,
    )
    image_shape = cast(tuple[int, int, int], images.shape[1:])
    pair = build_pair(network, network_options, image_shape, objective, seed)
    conditions = label_space.conditions(labels)
    vicinities = make_vicinity(
        conditions,
        label_space,
        form=vicinity,
        images=vicinity_images,
        sigma=sigma_label,
        kappa=kappa,
        multiplier=vicinity_multiplier,
    )
    if pair.family.uses_embedding:
        embedding = train_label_embedding(
            images,
            conditions[:, 1:] if label_space.has_classes else conditions,
            size=pair.family.embedding_size,  # type: ignore[attr-defined]
            width=embedding_width,
            image_steps=embedding_image_steps,
            label_steps=embedding_label_steps,
            batch_size=embedding_batch_size,
            learning_rate=embedding_learning_rate,
            seed=seed,
            compute=compute,
            workspace=workspace,
        )
        for half in (pair.generator, pair.discriminator):
            cast(nn.Module, half.embedding).load_state_dict(embedding.state_dict())

    def draw(step: int) -> Draw:
        drawn = vicinities.draw(settings.batch_size, np.random.default_rng(derive_seed(seed, "discriminator", step)))
        return Draw(drawn.rows, drawn.targets, drawn.fake_labels, drawn.real_weights, drawn.fake_weights, drawn.kappas)

    def aim(step: int) -> npt.NDArray[np.float32]:
        return vicinities.targets(settings.batch_size, np.random.default_rng(derive_seed(seed, "aim", step)))

    bandwidths = vicinities.describe()
    numbers = fit_pair(
        pair,
        images,
        labels,
        settings,
        draw=draw,
        aim=aim,
        described={
            "loss": loss,
            "vicinity": vicinity,
            "label_regression_weight": label_regression_weight,
            "density_ratio_weight": density_ratio_weight,
            **bandwidths,
        },
        validation=validation,
        judge=judge,
        warn=warn,
        compile_networks=compile_networks,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    return numbers | bandwidths
