"""The losses of discriminators that classify instead of judging image and class together: ACGAN and ReACGAN."""

from __future__ import annotations

import torch
from torch.nn import functional

#: Weight of the generated images' cross entropy in ACGAN's discriminator, as in the code of cDR-RS.
FAKE_SHARE = 0.1


def acgan_discriminator_loss(
    real_logits: torch.Tensor,
    real_classes: torch.Tensor,
    fake_logits: torch.Tensor,
    fake_classes: torch.Tensor,
    fake_share: float = FAKE_SHARE,
) -> torch.Tensor:
    """``CE(real) + fake_share CE(fake)``, the auxiliary classifier's part of the discriminator's loss.

    Source: Odena et al., 2017, arXiv 1610.09585. Differs from it: generated images count less, as in the code of cDR-RS
    (Ding et al., 2023, arXiv 2103.11166), because early ones do not show the class they were asked for.

    Args:
        real_logits: of real images, (B, classes).
        real_classes: int64 (B,).
        fake_logits: of generated images, (B, classes).
        fake_classes: the classes they were asked for, int64 (B,).
        fake_share: weight of the second term, >= 0.

    Returns:
        The loss, a float32 scalar.
    """
    real = functional.cross_entropy(real_logits.float(), real_classes)
    return real + fake_share * functional.cross_entropy(fake_logits.float(), fake_classes)


def acgan_generator_loss(fake_logits: torch.Tensor, fake_classes: torch.Tensor) -> torch.Tensor:
    """``CE(fake)``, the auxiliary classifier's part of the generator's loss (Odena et al., 2017, arXiv 1610.09585).

    Args:
        fake_logits: of generated images, (B, classes).
        fake_classes: the classes they were asked for, int64 (B,).

    Returns:
        The loss, a float32 scalar.
    """
    return functional.cross_entropy(fake_logits.float(), fake_classes)


def d2d_ce_loss(
    embeddings: torch.Tensor,
    proxies: torch.Tensor,
    classes: torch.Tensor,
    *,
    margin: float = 0.98,
    temperature: float = 0.5,
) -> torch.Tensor:
    """Data-to-data cross entropy: an image is drawn to its class's proxy and pushed off images of other classes.

    Source: Kang et al., 2021, arXiv 2111.01118. With ``a_i = min(f_i . v_{y_i} - margin, 0) / t`` and
    ``b_ij = max(f_i . f_j - (1 - margin), 0) / t``, the loss is the mean over i of
    ``-log(exp(a_i) / (exp(a_i) + sum_{j: y_j != y_i} exp(b_ij)))``. One number gives both margins, as in the authors'
    library. The discriminator takes it of real images, the generator of generated ones.

    Args:
        embeddings: unit vectors f of the images, (B, E).
        proxies: unit vectors v of all classes, (classes, E).
        classes: y, int64 (B,).
        margin: of the positives, in [0, 1]; that of the negatives is 1 - margin.
        temperature: t, > 0.

    Returns:
        The loss, a float32 scalar; 0 for a batch of one class.
    """
    embeddings, proxies = embeddings.float(), proxies.float()
    attraction = ((embeddings * proxies[classes]).sum(dim=1) - margin).clamp_max(0.0) / temperature
    repulsion = (embeddings @ embeddings.t() - (1.0 - margin)).clamp_min(0.0) / temperature
    repulsion = repulsion.masked_fill(classes[:, None] == classes[None, :], -torch.inf)
    everything = torch.cat([attraction[:, None], repulsion], dim=1).logsumexp(dim=1)
    return (everything - attraction).mean()
