"""What the columns of a set hold, in words."""

from __future__ import annotations

from data.reading import ImageSet

MEANINGS = {
    "accepted": "whether rejection sampling kept the row (0, 1)",
    "box": "what is pasted from the second image: top, left, height, width, in pixels",
    "coefficient": "share of the first image, and of its label, in the mixed one",
    "condition": "the label that the generator was asked for",
    "density_ratio": "real over generated density; above 1 where real images are more frequent than generated ones",
    "first": "row of the first of two images that are mixed",
    "images": "images, rows first, then channels, height, width; 0 is black, 255 white",
    "labels": "the label that goes with the image",
    "negative": "rows of the second group of a comparison",
    "other_labels": "the label of the second of two images that are mixed",
    "positive": "rows of the first group of a comparison",
    "second": "row of the second of two images that are mixed",
    "seed": "seed of the row, from which the generator can make the image again",
    "source_row": "row of the source or set that this row comes from",
    "split": "0 training, 1 validation, 2 test",
    "teacher_error": "how far the teacher's output lies from the condition",
    "teacher_outputs": "what the teacher network gives: a logit a class, then each value in its own unit",
    "view": "which augmented view of the image the row is about",
}

_CHANNELS = {1: "one channel (grey)", 3: "channels (red, green, blue)"}


def meaning_of(found: ImageSet, name: str) -> str:
    """What a column of a set holds."""
    words = MEANINGS.get(name, name)
    if name == "images":
        channels = found.columns[name].shape[1]
        return words.replace("channels", _CHANNELS.get(channels, f"{channels} channels"))
    if found.kind == "mixed" and name == "labels":
        return "the label of the first of two images that are mixed: half of the truth; see `coefficient`"
    return words
