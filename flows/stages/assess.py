"""Stage ``assess``: agreement with the teacher, calibration, robustness, size and latency. Nothing depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from flows.assessing import Role
    from flows.execute import StageContext
    from flows.measuring import Loaded, Subject
    from flows.plan import Node
    from flows.stages.common import Part
    from flows.teachers import OpenTeacher
    from students.model import ImageModel

VERSION = 2
#: Key of the teacher among the models; no student has it, as theirs have several parts.
TEACHER = "teacher"
FILE = "assess.json"
LATENCY = "latency.json"
#: Models that are held in memory at a time while images are corrupted.
_HELD = 32
#: Blocks of the network that are corrupted at a time.
_BLOCKS = 4


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``assess.json``, the same for the same inputs, and ``latency.json``, whose times are not.

    The test rows are read, as they are for the results, and nothing is chosen by what is found.
    """
    from data.files import write_json
    from flows.assessing import measured_role, over_seeds, skipped_words
    from flows.measuring import corrupted_places, measured
    from flows.stages.common import RealSet, compute_of, figures_of
    from flows.teachers import judging_teacher, teacher_network

    compute, settings = compute_of(context.config), context.config.assess
    real = RealSet.of(context.inputs["real"])
    test, role = real.test, measured_role(context.config.teacher, context.inputs["teacher"].folder)
    nodes = [node for node in context.node.inputs.values() if node.stage == "distill"]
    places = corrupted_places(len(test.rows), settings.test_images, context.seed)
    network = teacher_network(context, compute) if role == "network" else None
    opening: AbstractContextManager[OpenTeacher | None] = nullcontext()
    if role != "network":
        opening = judging_teacher(context, compute)
    paid: dict[str, int] = {}
    with opening as opened:
        subjects = _subjects(context, compute, test, role, network or opened, nodes)
        found = measured(
            subjects,
            test,
            places,
            real.label_space,
            settings,
            seed=context.seed,
            held=_HELD,
            block_rows=_BLOCKS * context.config.compute.block_rows,
            workspace=context.workspace,
        )
        if opened is not None:
            paid = opened.paid()
    passes = len(settings.corruptions) * len(settings.severities)
    calls = sum(
        len(test.rows) + passes * len(places) * subject.corrupted for subject in subjects if subject.key == TEACHER
    )
    entries = [{**node.arguments, **found[node.key]} for node in nodes]
    write_json(
        context.workspace.path(FILE),
        {
            "format": 1,
            "label_space": real.label_space.to_dict(),
            "seed": context.seed,
            "test_images": len(test.rows),
            "corrupted_images": len(places) if settings.corruptions else 0,
            "bins": settings.bins,
            "corruptions": list(settings.corruptions),
            "severities": list(settings.severities),
            "skipped": skipped_words(role),
            "teacher": found.get(TEACHER),
            "students": entries,
            "summary": over_seeds(entries),
        },
    )
    times = _latency(context, test, network, nodes, compute)
    write_json(context.workspace.path(LATENCY), times)
    judged: dict[str, Any] = {}
    for subject in subjects:
        if subject.key == TEACHER and subject.outputs is not None:
            judged = {"teacher_figures": figures_of(subject.outputs, test.labels, real.label_space)["figures"]}
    numbers = {"models": len(entries), "networks": len(times["networks"]), "test_images": len(test.rows)}
    return {**numbers, "teacher_measured": role, "teacher_calls_to_judge": calls, **judged, **paid}


def _subjects(
    context: StageContext,
    compute: Compute,
    test: Part,
    role: Role,
    teacher: ImageModel | OpenTeacher | None,
    nodes: Sequence[Node],
) -> list[Subject]:
    """The teacher, where it is measured, and the students.

    Students come by name: what is kept of a killed stage must not depend on their order in the configuration.
    """
    from flows.measuring import Subject, remembered
    from students.model import ImageModel, load_model

    def loaded(model: ImageModel) -> Loaded:
        return partial(_answers, model, compute, context.config.compute.block_rows), partial(_size, model, test)

    def student(node: Node) -> Loaded:
        return loaded(load_model(context.inputs[node.key].folder, compute))

    subjects, taught = [], None
    if teacher is not None:
        own: Loaded = loaded(teacher) if isinstance(teacher, ImageModel) else (teacher.answer, lambda: None)
        taught = remembered(context.workspace, lambda: own[0](test.images))
        subjects.append(Subject(TEACHER, lambda: own, outputs=taught, corrupted=role != "recorded"))
    for node in sorted(nodes, key=lambda node: node.key):
        subjects.append(Subject(node.key, partial(student, node), taught=taught))
    return subjects


def _answers(
    model: ImageModel, compute: Compute, block_rows: int, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    from students.evaluation import predict

    return predict(model, images, compute, block_rows)


def _size(model: ImageModel, test: Part) -> dict[str, int]:
    from students.assessment.latency import weight_bytes
    from students.cost import multiply_adds
    from students.model import parameter_count

    channels, height, width = test.images.shape[1:]
    return {
        "parameters": parameter_count(model),
        "bytes": weight_bytes(model),
        "multiply_adds": multiply_adds(model, (channels, height, width)),
    }


def _latency(
    context: StageContext, test: Part, teacher: ImageModel | None, nodes: Sequence[Node], compute: Compute
) -> dict[str, Any]:
    """Times of the teacher and of each distinct student network, at its first seed: weights do not matter."""
    import torch

    from flows.assessing import network_key
    from students.assessment.latency import latency_summary, time_by_turns
    from students.model import load_model

    settings = context.config.assess
    names: dict[str, list[str]] = {}
    # A student may be called teacher, so the key of the teacher is no name that a student can have.
    models: dict[str, ImageModel] = {} if teacher is None or not settings.latency_batches else {"": teacher}
    for node in nodes if settings.latency_batches else ():
        key = network_key(node.request.config["distill"]["student"])
        if key not in names:
            models[node.arguments["student"]] = load_model(context.inputs[node.key].folder, compute)
        if node.arguments["student"] not in names.setdefault(key, []):
            names[key].append(node.arguments["student"])
    channels, height, width = test.images.shape[1:]
    batches = {}
    for batch in settings.latency_batches:
        seconds = time_by_turns(
            models, (channels, height, width), compute, batch=batch, repeats=settings.latency_repeats
        )
        summary = latency_summary(seconds, None if teacher is None else "")
        batches[str(batch)] = {
            "teacher": summary.pop("", None),
            "students": {name: summary[own[0]] for own in names.values() for name in own},
        }
    return {
        "format": 1,
        "device": str(compute.device),
        "threads": torch.get_num_threads(),
        "precision": "fp32" if compute.autocast_dtype is None else str(compute.autocast_dtype).removeprefix("torch."),
        "repeats": settings.latency_repeats,
        "networks": list(names.values()),
        "batches": batches,
    }
