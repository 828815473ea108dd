from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from PIL import Image
from torchvision import transforms

from data.errors import DataError
from data.faults import UnreadableImages
from data.sources import skipped
from data.sources.imagenet100 import ImageNet100
from data.sources.tiny_imagenet import TinyImageNet

WNIDS = ("n02124075", "n01443537", "n04067472")  # as published: not sorted
WORDS = {"n01443537": "goldfish, Carassius auratus", "n02124075": "Egyptian cat", "n04067472": "reel"}
RNG = np.random.default_rng(2)


def picture(path: Path, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    """A JPEG of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = RNG.integers(0, 256, (5, 5, 3) if mode == "RGB" else (5, 5), np.uint8)
    Image.fromarray(coarse, mode).resize(size, Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)


def tiny(root: Path) -> Path:
    """A folder as tiny-imagenet-200.zip unpacks to, with three classes of 11 images and a grey one each."""
    for wnid in WNIDS:
        for number in range(11):
            mode = "L" if number == 3 else "RGB"
            picture(root / f"train/{wnid}/images/{wnid}_{number}.JPEG", mode=mode)
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    lines = []
    for number in range(6):
        picture(root / f"val/images/val_{number}.JPEG", mode="L" if number == 5 else "RGB")
        lines.append(f"val_{number}.JPEG\t{WNIDS[number % 3]}\t0\t32\t44\t62\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    picture(root / "test/images/test_0.JPEG")
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in [*WORDS.items(), ("n1", "x, y")]))
    return root


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize("above", [False, True])
def test_tiny_imagenet_is_read_in_the_order_of_numbers_and_names(tmp_path: Path, above: bool) -> None:
    root = tiny(tmp_path / "tiny-imagenet-200")
    source = TinyImageNet(str(tmp_path if above else root))
    assert source.label_space.names == ("goldfish (n01443537)", "Egyptian cat (n02124075)", "reel (n04067472)")
    assert source.pool().tolist() == [1] * 33 + [2] * 6
    # val_0 is of the first number as published, which is the second when sorted.
    assert source.labels().tolist() == [0] * 11 + [1] * 11 + [2] * 11 + [1, 0, 2, 1, 0, 2]
    names = sorted(f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in WNIDS for number in range(11))
    paths = [root / name for name in [*names, *(f"val/images/val_{number}.JPEG" for number in range(6))]]
    rows = RNG.permutation(39)
    images = source.images(rows)
    assert images.shape == (39, 3, 64, 64)
    for image, row in zip(images, rows, strict=True):
        assert np.array_equal(image, pixels(paths[row])), paths[row]
    grey = source.images(np.flatnonzero(["_3.JPEG" in str(path) for path in paths[:33]]))
    assert (grey == grey[:, :1]).all()


def test_tiny_imagenet_is_as_torchvision_reads_its_training_folder(tmp_path: Path) -> None:
    source = TinyImageNet(str(tiny(tmp_path)))
    other = torchvision.datasets.ImageFolder(str(tmp_path / "train"))
    assert [name.rpartition("(")[2][:-1] for name in source.label_space.names] == other.classes
    assert source.labels()[:33].tolist() == other.targets
    images = np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in other])
    assert np.array_equal(source.images(np.arange(33)), images)


def test_a_validation_folder_that_was_sorted_by_class_serves_too(tmp_path: Path) -> None:
    root = tiny(tmp_path)
    before = TinyImageNet(str(root))
    rows = before.images(np.arange(33, 39)), before.labels()[33:]
    for line in (root / "val/val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        (root / "val" / wnid / "images").mkdir(parents=True, exist_ok=True)
        shutil.move(root / "val/images" / name, root / "val" / wnid / "images" / name)
    order = np.argsort(rows[1], kind="stable")
    # The folder of all images may be left empty or be gone, the annotations may be left or be gone.
    for leave in (lambda: None, (root / "val/images").rmdir, (root / "val/val_annotations.txt").unlink):
        leave()
        after = TinyImageNet(str(root))
        assert after.labels()[33:].tolist() == rows[1][order].tolist()
        assert np.array_equal(after.images(np.arange(33, 39)), rows[0][order])


def test_identity_follows_content_names_and_options_and_not_the_place(tmp_path: Path) -> None:
    here = tiny(tmp_path / "a")
    there = Path(shutil.copytree(here, tmp_path / "b"))
    identity = TinyImageNet(str(here)).identity()
    assert identity == TinyImageNet(str(there)).identity()
    assert "/" not in json.dumps(identity)
    assert identity != TinyImageNet(str(here), image_size=32).identity()
    for name in ("words.txt", "val/val_annotations.txt"):
        text = (there / name).read_text()
        (there / name).write_text(
            text.replace("Egyptian", "Persian").replace("val_0.JPEG\tn02124075", "val_0.JPEG\tn01443537")
        )
        assert identity != TinyImageNet(str(there)).identity(), name
        (there / name).write_text(text)
    assert identity == TinyImageNet(str(there)).identity()
    picture(there / "val/images/val_2.JPEG")
    assert identity != TinyImageNet(str(there)).identity()


def test_missing_and_contradicting_files_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold wnids\.txt, got none; get http.*tiny-imagenet-200\.zip, unpack it"):
        TinyImageNet(str(tmp_path / "nowhere")).identity()
    root = tiny(tmp_path / "a")
    (root / "val/images/val_4.JPEG").unlink()
    with pytest.raises(DataError, match=r"but val/images/val_4\.JPEG is not there"):
        TinyImageNet(str(root)).labels()
    picture(root / "val/images/val_4.JPEG")
    picture(root / "val/images/val_7.JPEG")
    with pytest.raises(DataError, match=r"but val/images/val_7\.JPEG has no line in it"):
        TinyImageNet(str(root)).labels()
    (root / "val/val_annotations.txt").write_text("val_0.JPEG n02124075\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt: each line must be one file and a WordNet number"):
        TinyImageNet(str(root)).labels()
    (root / "val/val_annotations.txt").unlink()
    with pytest.raises(DataError, match=r"must hold val/val_annotations\.txt, got none"):
        TinyImageNet(str(root)).pool()
    shutil.rmtree(root / "train/n04067472")
    with pytest.raises(DataError, match=r"must hold train/n04067472/images, got none"):
        TinyImageNet(str(root)).pool()
    (root / "wnids.txt").write_text("n01443537\nn01443537\n")
    with pytest.raises(DataError, match="must hold distinct WordNet numbers"):
        _ = TinyImageNet(str(root)).label_space


def test_files_that_cannot_be_read_are_named_and_left_out_by_choice(tmp_path: Path) -> None:
    root = tiny(tmp_path)
    for name in ("train/n01443537/images/n01443537_1.JPEG", "val/images/val_3.JPEG"):
        (root / name).write_bytes((root / name).read_bytes()[:200])
    whole = TinyImageNet(str(root))
    with pytest.raises(
        UnreadableImages, match=r"tiny_imagenet: 2 of 39 images .*n01443537_1\.JPEG.*val/images/val_3\.JPEG"
    ):
        whole.images(np.arange(39))
    assert skipped(whole) == ()
    source = TinyImageNet(str(root), damaged="skip")
    assert [fault.name for fault in skipped(source)] == [
        "train/n01443537/images/n01443537_1.JPEG",
        "val/images/val_3.JPEG",
    ]
    kept = [row for row in range(39) if row not in (1, 36)]
    assert source.labels().tolist() == whole.labels()[kept].tolist()
    assert source.pool().tolist() == whole.pool()[kept].tolist()
    assert np.array_equal(source.images(np.arange(37)), whole.images(np.array(kept)))
    assert source.identity() != whole.identity()


def hundred(root: Path, *, tops: tuple[str, ...] = ("train", "val")) -> Path:
    for number, wnid in enumerate(WNIDS):
        for top in tops:
            for place in range(3 if top.startswith("train") else 2):
                size = ((130, 150), (300, 131), (128, 128))[number]
                name = f"{wnid}_{place}.JPEG" if top.startswith("train") else f"ILSVRC2012_val_{number}{place}.JPEG"
                picture(root / top / wnid / name, size)
    return root


def test_imagenet100_is_resized_cropped_and_ordered_by_folder(tmp_path: Path) -> None:
    root = hundred(tmp_path)
    source = ImageNet100(str(root))
    assert source.image_shape == (3, 128, 128)
    assert source.label_space.names == tuple(sorted(WNIDS))
    assert source.labels().tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [0, 0, 1, 1, 2, 2]
    assert source.pool().tolist() == [1] * 9 + [2] * 6
    paths = [path for top in ("train", "val") for path in sorted((root / top).rglob("*.JPEG"))]
    images = source.images(np.arange(15))
    for image, path in zip(images, paths, strict=True):
        opened = Image.open(path)
        scaled = transforms.Compose(
            [transforms.Resize(128, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(128)]
        )
        assert np.array_equal(image, np.asarray(scaled(opened)).transpose(2, 0, 1)), path
    with pytest.raises(UnreadableImages, match="imagenet100: 10 of 15 images cannot be read"):
        ImageNet100(str(root), fit="exact").images(np.arange(15))


def test_imagenet100_takes_choice_order_and_names_from_a_file(tmp_path: Path) -> None:
    root = hundred(tmp_path / "data")
    chosen = tmp_path / "classes.txt"
    chosen.write_text("n04067472 reel\n\nn01443537\n")
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {name}\n" for wnid, name in WORDS.items()))
    source = ImageNet100(str(root), classes=str(chosen))
    assert source.label_space.names == ("reel (n04067472)", "goldfish (n01443537)")
    every = ImageNet100(str(root))
    assert every.label_space.names[1] == "Egyptian cat (n02124075)"
    rows = np.flatnonzero(every.labels() != 1)
    swapped = np.argsort(every.pool()[rows].astype(int) * 10 - every.labels()[rows], kind="stable")
    assert np.array_equal(source.images(np.arange(len(rows))), every.images(rows[swapped]))
    assert source.labels().tolist() == [0] * 3 + [1] * 3 + [0, 0, 1, 1]
    assert source.identity() != every.identity()
    chosen.write_text("n04067472\nn00000001\n")
    with pytest.raises(DataError, match=r"must hold train/n00000001, got none; get ImageNet"):
        ImageNet100(str(root), classes=str(chosen)).labels()


def test_imagenet100_may_be_spread_and_lack_a_validation_folder(tmp_path: Path) -> None:
    together = hundred(tmp_path / "a", tops=("train",))
    (together / "Labels.json").write_text(json.dumps(WORDS))
    source = ImageNet100(str(together), image_size=32)
    assert source.pool().tolist() == [0] * 9
    spread = tmp_path / "b"
    for number, wnid in enumerate(WNIDS):
        shutil.copytree(together / "train" / wnid, spread / f"train.X{number}" / wnid)
    shutil.copy(together / "Labels.json", spread / "Labels.json")
    other = ImageNet100(str(spread), image_size=32)
    assert other.label_space == source.label_space
    assert np.array_equal(other.images(np.arange(9)), source.images(np.arange(9)))
    shutil.copytree(spread / "train.X0" / WNIDS[0], spread / "train.X2" / WNIDS[0])
    with pytest.raises(DataError, match=r"must hold each class once, got train\.X0/n02124075 and train\.X2/n02124075"):
        ImageNet100(str(spread)).labels()
    with pytest.raises(DataError, match=r"must hold train with a folder for each class; get ImageNet"):
        ImageNet100(str(tmp_path / "nowhere")).identity()


def test_links_are_followed_and_those_to_nothing_are_named(tmp_path: Path) -> None:
    whole, chosen = hundred(tmp_path / "whole"), tmp_path / "chosen"
    for top in ("train", "val"):
        (chosen / top).mkdir(parents=True)
        for wnid in WNIDS:
            (chosen / top / wnid).symlink_to(whole / top / wnid, target_is_directory=True)
    real, linked = ImageNet100(str(whole), image_size=32), ImageNet100(str(chosen), image_size=32)
    assert linked.identity() == real.identity()
    assert np.array_equal(linked.images(np.arange(15)), real.images(np.arange(15)))
    (chosen / "train" / "n99999999").symlink_to(whole / "gone")
    with pytest.raises(DataError, match=r"train/n99999999: must lead to something, got a link to nothing; correct"):
        ImageNet100(str(chosen), image_size=32).labels()
    (chosen / "train" / "n99999999").unlink()

    (whole / "train" / WNIDS[0] / "z.JPEG").symlink_to(tmp_path / "gone.JPEG")
    os.mkfifo(whole / "val" / WNIDS[0] / "z.JPEG")
    strict, lenient = (ImageNet100(str(chosen), image_size=32, damaged=how) for how in ("error", "skip"))
    assert strict.identity() != lenient.identity()
    with pytest.raises(
        UnreadableImages, match=r"2 of 17 images .*/z\.JPEG \(must be a file, no pipe or link to nothing"
    ):
        strict.images(np.arange(17))
    assert [fault.name for fault in skipped(lenient)] == [f"train/{WNIDS[0]}/z.JPEG", f"val/{WNIDS[0]}/z.JPEG"]
    assert np.array_equal(lenient.images(np.arange(15)), real.images(np.arange(15)))


def arrays(path: Path, **columns: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_the_papers_hdf5_files_are_read(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (9, 3, 64, 64), np.uint8)
    labels = np.array([2, 0, 1, 1, 0, 2, 1, 0, 2])
    path = arrays(
        tmp_path / "tiny-imagenet-200.h5",
        imgs=images[:6],
        labels=labels[:6],
        imgs_val=images[6:],
        labels_val=labels[6:],
        indx_subtrain=np.arange(4),
        indx_subvalid=np.arange(4, 6),
    )
    source = TinyImageNet(str(path))
    assert source.labels().tolist() == labels.tolist()
    assert source.pool().tolist() == [1] * 6 + [2] * 3
    assert source.label_space.names == ("class 0", "class 1", "class 2")
    assert np.array_equal(source.images(np.array([8, 0, 5])), images[[8, 0, 5]])
    assert skipped(source) == ()
    with pytest.raises(DataError, match=r"set source\.image_size to 64"):
        TinyImageNet(str(path), image_size=32).labels()
    path = arrays(
        tmp_path / "ImageNet_128x128_100Class.h5",
        images_train=images[:6],
        labels_train=labels[:6],
        images_valid=images[6:],
        labels_valid=labels[6:],
        labels_train_label1000=labels[:6] * 7,
        labels_valid_label1000=labels[6:] * 7,
        existing_classes=np.array([0, 7, 14]),
    )
    (tmp_path / "classes.txt").write_text("n1 tench\nn2 great white shark\nn3 cock\n")
    named = ImageNet100(str(path), image_size=64, classes=str(tmp_path / "classes.txt"))
    assert named.label_space.names == ("n1 tench", "n2 great white shark", "n3 cock")
    assert named.labels().tolist() == labels.tolist()
    assert np.array_equal(named.images(np.arange(9)), images)
    assert named.pool().tolist() == [1] * 6 + [2] * 3
    (tmp_path / "classes.txt").write_text("n1 tench\nn2 great white shark\n")
    with pytest.raises(DataError, match="must have a line for each of the 3 classes"):
        _ = ImageNet100(str(path), image_size=64, classes=str(tmp_path / "classes.txt")).label_space
    with pytest.raises(DataError, match="imagenet100"):
        ImageNet100(str(tmp_path / "tiny-imagenet-200.h5"), image_size=64).labels()
    path = arrays(
        tmp_path / "gap.h5", imgs=images[:2], labels=np.array([0, 2]), imgs_val=images[2:3], labels_val=np.array([0])
    )
    with pytest.raises(DataError, match="class 1 must have training images"):
        TinyImageNet(str(path)).labels()


def test_infinity_is_no_class(tmp_path):
    images = np.zeros((4, 3, 64, 64), np.uint8)
    labels = np.array([0, 1, np.inf, 0], np.float32)
    path = arrays(tmp_path / "tiny.h5", imgs=images, labels=labels, imgs_val=images[:2], labels_val=labels[:2])
    with pytest.raises(DataError, match="labels must be whole numbers from 0 on"):
        TinyImageNet(str(path)).labels()
