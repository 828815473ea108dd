"""Methods joined by "+": a weighted sum of their parts, with labels counted once."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data.errors import ConfigError
from students.combination import LABEL_PARTS, Combination, Member
from students.methods import (
    Batch,
    Features,
    Method,
    Sizes,
    auxiliary_of,
    check_method,
    group_sizes,
    make_method,
    methods,
    recentring_of,
)


def example() -> tuple[Batch, Tensor]:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=rng, dtype=torch.float64)
    return Batch(torch.arange(6) % 4, teacher), student


def values(method: Method, batch: Batch, outputs: Tensor, progress: float = 0.5) -> dict[str, float]:
    return {name: part.item() for name, part in method(batch, outputs, progress).items()}


def test_parts_are_those_of_the_methods_with_labels_of_the_first() -> None:
    batch, outputs = example()
    options = {"dkd.alpha": 2.0, "dkd.weight": 0.5, "dist.temperature": 2, "nkd.weight": 0.25, "dist.weight": 3}
    joined = values(make_method("dkd+dist+nkd", options), batch, outputs)
    dkd = values(make_method("dkd", {"alpha": 2.0}), batch, outputs)
    dist = values(make_method("dist", {"temperature": 2.0}), batch, outputs)
    nkd = values(make_method("nkd"), batch, outputs)
    assert joined == pytest.approx(
        {
            "dkd.ce": 0.5 * dkd["ce"],
            "dkd.target": 0.5 * dkd["target"],
            "dkd.non_target": 0.5 * dkd["non_target"],
            "dist.inter": 3 * dist["inter"],
            "dist.intra": 3 * dist["intra"],
            "nkd.target": 0.25 * nkd["target"],
            "nkd.non_target": 0.25 * nkd["non_target"],
        },
        abs=1e-14,
    )


def test_the_order_of_names_decides_whose_labels_count() -> None:
    batch, outputs = example()
    for names in ("kd+lskd", "lskd+kd"):
        parts = values(make_method(names), batch, outputs)
        first, second = names.split("+")
        alone = values(make_method(first), batch, outputs)
        assert parts[f"{first}.ce"] == pytest.approx(alone["ce"], abs=1e-15)
        assert f"{second}.ce" not in parts
    # Labels that hang on the teacher are no plain label part.
    assert set(values(make_method("kd+cckd"), batch, outputs)) == {
        "kd.ce",
        "kd.kd",
        "cckd.teacher",
        "cckd.remainder",
    }


def test_the_gradient_is_the_weighted_sum_of_gradients() -> None:
    batch, outputs = example()
    outputs.requires_grad_(True)

    def gradient(name: str, options: dict[str, Any]) -> Tensor:
        parts = make_method(name, options)(batch, outputs, 0.5)
        return torch.autograd.grad(torch.stack(list(parts.values())).sum(), outputs)[0]

    joined = gradient("ce+nkd+correlation", {"nkd.weight": 0.5, "correlation.weight": 2.0})
    expected = (
        gradient("ce", {}) + 0.5 * gradient("nkd", {"ce_weight": 0.0}) + 2 * gradient("correlation", {"ce_weight": 0.0})
    )
    torch.testing.assert_close(joined, expected, atol=1e-14, rtol=0)


def test_needs_are_united_and_tasks_intersected() -> None:
    joined = make_method("ckd+hint", {"ckd.pairing": "all_in_batch"})
    assert joined.needs == {"labels", "teacher_outputs", "student_features", "teacher_features"}
    assert joined.tasks == {"class", "scalar", "vector"}
    assert make_method("ckd+kd").tasks == {"class"}
    assert make_method("imitation+ckd").tasks == {"scalar", "vector"}


def test_methods_that_share_no_labels_are_refused() -> None:
    message = r"'kd\+imitation' must serve a common kind of labels, got kd: class; imitation: scalar, vector\."
    with pytest.raises(ConfigError, match=message):
        make_method("kd+imitation")


def test_rows_in_groups_are_ordinary_rows_to_the_other_methods() -> None:
    batch, outputs = example()
    joined = make_method("kd+ckd", {"ckd.positive": 2})
    assert group_sizes(joined) == (2, 1)
    grouped = Batch(batch.labels, batch.teacher(), groups=(2, 1))
    found = values(joined, grouped, outputs)
    alone = values(make_method("ckd", {"positive": 2}), grouped, outputs)
    kd = values(make_method("kd"), batch, outputs)
    # Differences of labels see no level, so that they are no second loss of the labels.
    assert set(alone) == {"label_differences", "teacher_differences"}
    expected = {"kd.ce": kd["ce"], "kd.kd": kd["kd"], **{f"ckd.{name}": part for name, part in alone.items()}}
    assert found == pytest.approx(expected, abs=1e-15)
    assert group_sizes(make_method("kd+dkd")) is None


def test_two_groupings_are_refused() -> None:
    one, other = make_method("ckd"), make_method("ckd", {"positive": 3})
    with pytest.raises(ConfigError, match=r"groups of the same sizes, got a \(1, 1\) and b \(3, 1\)"):
        Combination((Member("a", one), Member("b", other)))
    assert Combination((Member("a", one), Member("b", one))).groups == (1, 1)


def test_networks_of_members_are_kept_apart_by_name() -> None:
    features = Features(torch.zeros(1, 3), (torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)))
    sizes = Sizes(4, features, features)
    joined = make_method("kd+ctkd+hint", {"hint.on": "pooled"})
    networks = auxiliary_of(joined, sizes)
    assert isinstance(networks, nn.ModuleDict)
    assert set(networks) == {"ctkd", "hint"}
    assert [name for name, _ in networks.named_parameters()] == ["ctkd.theta", "hint.weight", "hint.bias"]
    batch, outputs = example()
    parts = values(make_method("kd+ctkd"), Batch(batch.labels, batch.teacher(), auxiliary=networks), outputs)
    alone = Batch(batch.labels, batch.teacher(), auxiliary=networks["ctkd"])
    assert parts["ctkd.kd"] == values(make_method("ctkd"), alone, outputs)["kd"]
    assert auxiliary_of(make_method("kd+dkd"), sizes) is None


def test_outputs_are_recentred_by_no_combination() -> None:
    for names in ("ckd+dtkd", "kd+ckd"):
        message = (
            f"method 'ckd' must stand alone where it re-centres outputs, got '{re.escape(names)}'; try ckd.recenter"
        )
        with pytest.raises(ConfigError, match=message):
            make_method(names, {"ckd.recenter_bias": True})
        assert recentring_of(make_method(names)) is None


@pytest.mark.parametrize(
    ("names", "options", "labels"),
    [
        ("ckd+kd", {}, {"kd.ce"}),
        ("ckd+kd", {"ckd.anchor_weight": 0.1}, {"ckd.ce"}),
        ("kd+dkd", {"kd.alpha": 1.0}, {"dkd.ce"}),
        ("kd+dkd+lskd", {"kd.alpha": 1.0, "dkd.ce_weight": 0.0}, {"lskd.ce"}),
        ("cckd+ce", {}, {"ce.ce"}),
        ("kd+nkd", {"kd.alpha": 1.0, "nkd.ce_weight": 0.0}, set()),
    ],
)
def test_labels_count_once_where_they_have_a_weight(names: str, options: dict[str, Any], labels: set[str]) -> None:
    batch, outputs = example()
    parts = values(make_method(names, options), replace(batch, groups=(1, 1)), outputs)
    assert {name for name in parts if name.partition(".")[2] in LABEL_PARTS} == labels
    assert all(parts[name] > 0.0 for name in labels)


def test_a_constant_offset_is_fixed_by_the_labels_of_the_member_behind_comparisons() -> None:
    batch, outputs = example()
    batch = replace(batch, labels=torch.arange(6.0, dtype=torch.float64), teacher_outputs=batch.teacher()[:, :1])
    outputs = outputs[:, :1]
    for names in ("ckd+mse", "ckd+pairwise_difference", "ckd+imitation"):
        bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        method = make_method(names)
        grouped = replace(batch, groups=group_sizes(method), kind="scalar")
        (gradient,) = torch.autograd.grad(sum(method(grouped, outputs + bias, 0.5).values(), outputs.sum() * 0), bias)
        assert gradient.abs().item() > 0.1


def test_a_member_that_adds_nothing_is_refused() -> None:
    for names, first in (("kd+ce", "kd"), ("ckd+kd+ce", "kd"), ("ce+nkd", "")):
        if not first:
            assert make_method(names).tasks == {"class"}
            continue
        message = f"must each add something, but 'ce' adds nothing behind '{first}', whose labels count; leave it out"
        with pytest.raises(ConfigError, match=message):
            make_method(names)
    with pytest.raises(ConfigError, match="'mse' adds nothing behind 'imitation'"):
        make_method("imitation+mse")
    assert make_method("kd+ce", {"kd.alpha": 1.0}).needs == {"labels", "teacher_outputs"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, r"options of 'kd\+dkd' must be named <method>.<option>, got 'alpha'; try 'kd.alpha'"),
        ({"dkk.alpha": 1.0}, "did you mean 'dkd.alpha'"),
        ({"dist.beta": 1.0}, "must be named <method>.<option>, got 'dist.beta'"),
        ({"kd.alfa": 1.0}, "did you mean 'alpha'"),
        ({"dkd.alpha": -1.0}, "option 'alpha' of method 'dkd' must be at least 0"),
        ({"dkd.weight": -1.0}, "option 'weight' of method 'dkd' must be above 0, got -1.0; try 1"),
        ({"kd.weight": 0.0}, "option 'weight' of method 'kd' must be above 0, got 0.0; try 1"),
        ({"dkd.weight": "big"}, "option 'weight' of method 'dkd' must be of type float"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_method("kd+dkd", options)


def test_names_must_be_known_and_different() -> None:
    assert check_method("kd+dkd") == "kd+dkd"
    with pytest.raises(ConfigError, match=r"must join different names, got 'kd\+dkd\+kd'; try 'kd\+dkd'"):
        check_method("kd+dkd+kd")
    with pytest.raises(ConfigError, match="did you mean 'dkd'"):
        make_method("kd+dkdd")
    with pytest.raises(ConfigError, match=r"must have a name on each side of '\+', got 'kd\+'; try 'kd'\.$"):
        check_method("kd+")
    assert check_method(" kd + dkd") == "kd+dkd"
    assert make_method("kd + dkd") == make_method("kd+dkd")


def test_equal_combinations_are_equal() -> None:
    assert make_method("kd+dkd", {"kd.alpha": 1}) == make_method("kd+dkd", {"kd.alpha": 1.0})
    assert make_method("kd+dkd") != make_method("dkd+kd")


def test_names_and_options_are_checked_without_torch() -> None:
    code = (
        "import sys; from students.methods import make_method; "
        "make_method('dtkd+ckd', {'ckd.weight': 2}); make_method('ctkd+hint'); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_pair_of_methods_for_classes_goes_together() -> None:
    names = [name for name in methods.names() if "class" in make_method(name).tasks]
    assert len(names) >= 12
    for first in names:
        for second in names:
            if first != second and second != "ce":
                assert "class" in make_method(f"{first}+{second}").tasks
