"""Teachers of every kind that runs here, through the command line: their answers, their cards, and what is refused."""

import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from data.compute import Compute
from data.errors import StageError
from data.reading import open_set
from data.store import Store
from flows.cli import main
from flows.execute import Runner, Selection
from flows.loading import load_config
from flows.plan import make_plan
from students.ledger import calls_by_stage
from students.model import load_model
from students.networks import make_network

SHAPE = (1, 8, 8)
CPU = Compute(torch.device("cpu"))
QUICK = {
    "distill": {
        "students": [{"name": "small", "network": "convnet", "options": {"channels": 2}}],
        "methods": [{"name": "kd"}],
        "data": ["real"],
        "seeds": [0],
        "training": {"steps": 3, "warmup_steps": 1, "batch_size": 8},
    },
    "assess": {"enabled": False},
}


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """Looking for a factory adds the working directory; another test's must not come first."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def write(tiny):
    def written(section, **more):
        path = tiny(**{**QUICK, **more})
        # Not merged with the teacher of the tiny experiment, which is a trained one.
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "teacher": section}))
        return path

    return written


@pytest.fixture
def answered(write, tmp_path, capsys):
    """Runs the teacher and its answers; (teacher's folder, its metrics, training images, outputs)."""

    def go(section, **more):
        config, store = write(section, **more), tmp_path / "store"
        for stage in ("prepare", "teacher", "answers"):
            status, out, err = run(capsys, "run", config, "--store", store, "--json", "--direct", "--only", stage)
            assert status == 0, err
        folder = max((store / "teacher").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns).parent
        made = json.loads(out)["stages"][0]["path"]
        answers = open_set(Path(made, "answers.h5"))
        real = open_set(next((store / "prepare").glob("*/real.h5")))
        images = real.take("images", np.asarray(answers.columns["source_row"]))
        metrics = json.loads((folder / "manifest.json").read_text())["metrics"]
        return folder, metrics, images, np.asarray(answers.columns["teacher_outputs"])

    return go


def network(outputs=10, seed=3):
    torch.manual_seed(seed)
    made = make_network("convnet", {"channels": 3}, SHAPE, outputs)
    with torch.no_grad():  # statistics that are not those of a new network
        for _ in range(3):
            made.train()(torch.randn(16, *SHAPE))
    return made.eval()


def by_hand(made, images, mean=0.0, std=1.0):
    with torch.inference_mode():
        return made((torch.from_numpy(images).float() / 255 - mean) / std).numpy()


@pytest.mark.parametrize("wrapped", ["safetensors", "plain", "state_dict", "module"])
def test_a_checkpoint_is_an_ordinary_model_afterwards(answered, tmp_path, wrapped):
    made, path = network(), tmp_path / f"weights.{'safetensors' if wrapped == 'safetensors' else 'pt'}"
    state = made.state_dict()
    if wrapped == "safetensors":
        save_file(state, path)
    elif wrapped == "plain":
        torch.save(state, path)
    elif wrapped == "state_dict":
        torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, path)
    else:
        torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    section = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}, "path": str(path)}
    folder, metrics, images, outputs = answered({**section, "mean": [0.3], "std": [0.25]})
    np.testing.assert_allclose(outputs, by_hand(made, images, 0.3, 0.25), rtol=1e-4, atol=1e-5)
    model = load_model(folder, CPU)
    with torch.inference_mode():
        np.testing.assert_allclose(model(torch.from_numpy(images)).numpy(), outputs, rtol=1e-5, atol=1e-6)
    assert metrics["parameters"] == sum(tensor.numel() for tensor in made.parameters())
    assert metrics["metric"] == "accuracy"
    assert str(path) not in (folder / "teacher.json").read_text()


def test_columns_of_a_larger_head_become_a_smaller_network(answered, tmp_path):
    made = network(outputs=17)
    save_file(made.state_dict(), tmp_path / "w.safetensors")
    columns = [16, 2, 3, 5, 7, 11, 13, 0, 1, 4]
    section = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}, "outputs": columns}
    folder, _, images, outputs = answered({**section, "path": str(tmp_path / "w.safetensors")})
    np.testing.assert_allclose(outputs, by_hand(made, images)[:, columns], rtol=1e-4, atol=1e-5)
    assert load_model(folder, CPU).label_space.outputs == 10


def test_a_network_that_gives_probabilities_gives_logits_here(answered, tmp_path, monkeypatch):
    (tmp_path / "softened.py").write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            def make(seed):
                torch.manual_seed(seed)
                return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1))
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    section = {"kind": "factory", "factory": "softened:make", "options": {"seed": 5}, "gives": "probabilities"}
    _, _, images, outputs = answered(section)
    torch.manual_seed(5)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    np.testing.assert_allclose(np.exp(outputs).sum(axis=1), 1.0, rtol=1e-5)
    expected = torch.from_numpy(by_hand(linear, images)).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


FUNCTION = """
    import numpy as np

    def make(scale):
        def answer(images):
            assert images.dtype == np.float32 and images.shape[1:] == (3, 16, 16)
            return scale * images.reshape(len(images), -1)[:, :10]
        return answer
"""


def test_a_function_is_asked_in_its_own_size_and_channels(answered, tmp_path, monkeypatch):
    (tmp_path / "arithmetic.py").write_text(textwrap.dedent(FUNCTION))
    monkeypatch.chdir(tmp_path)
    section = {"kind": "factory", "factory": "arithmetic:make", "options": {"scale": 2.0}}
    folder, metrics, images, outputs = answered({**section, "input_size": 16, "input_channels": 3})
    large = torch.nn.functional.interpolate(
        torch.from_numpy(images).float(), (16, 16), mode="bilinear", antialias=True
    ).numpy()
    np.testing.assert_allclose(outputs, 2.0 * large[:, 0].reshape(len(images), -1)[:, :10] / 255, rtol=1e-4, atol=1e-4)
    assert not (folder / "model.safetensors").exists()
    # Asking a function may cost something: it is measured by stage assess.
    assert metrics == {}


def test_code_that_changed_after_planning_is_refused(answered, write, tmp_path, monkeypatch):
    (tmp_path / "changing.py").write_text(textwrap.dedent(FUNCTION))
    monkeypatch.chdir(tmp_path)
    section = {"kind": "factory", "factory": "changing:make", "options": {"scale": 2.0}}
    section |= {"input_size": 16, "input_channels": 3}
    answered(section)
    config = load_config(write(section), ["seed=1"])
    plan = {node.stage: node for node in make_plan(config)}
    (tmp_path / "changing.py").write_text(textwrap.dedent(FUNCTION) + "\n# other\n")
    runner = Runner(config, Store(tmp_path / "store"), Selection())
    with pytest.raises(StageError, match="has changed since this run was planned"):
        runner.run(plan["teacher"])


@pytest.mark.parametrize("external", [False, True])
def test_an_onnx_file_answers_as_its_network(answered, tmp_path, external):
    pytest.importorskip("onnxruntime")
    made, path = network(), tmp_path / "teacher.onnx"
    export(made, path, external=external)
    section = {"kind": "onnx", "path": str(path), "mean": [0.3], "std": [0.25]}
    folder, metrics, images, outputs = answered(section)
    np.testing.assert_allclose(outputs, by_hand(made, images, 0.3, 0.25), rtol=1e-3, atol=1e-4)
    assert sorted(item.name for item in folder.iterdir()) == ["manifest.json", "teacher.json"]
    assert metrics["metric"] == "accuracy"
    assert path.with_name("teacher.onnx.data").exists() == external


def export(made, path, *, external):
    program = torch.export.export(made, (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: torch.export.Dim("B")},))
    torch.onnx.export(program, dynamo=True, verbose=False).save(str(path), external_data=external)


def test_an_ensemble_is_the_logarithm_of_the_mean_of_probabilities(answered, tmp_path):
    first, second = network(seed=1), network(seed=2)
    members = []
    for name, made in (("a", first), ("b", second)):
        save_file(made.state_dict(), tmp_path / f"{name}.safetensors")
        path = str(tmp_path / f"{name}.safetensors")
        members.append({"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}, "path": path})
    folder, metrics, images, outputs = answered({"kind": "ensemble", "members": members, "weights": [3, 1]})
    shares = [torch.from_numpy(by_hand(made, images)).softmax(dim=1).numpy() for made in (first, second)]
    np.testing.assert_allclose(np.exp(outputs), 0.75 * shares[0] + 0.25 * shares[1], rtol=1e-4, atol=1e-6)
    assert metrics["members"] == 2
    assert metrics["parameters"] == 2 * sum(tensor.numel() for tensor in first.parameters())
    assert {path.name for path in folder.iterdir()} >= {"member-0", "member-1"}


def test_equal_members_that_are_trained_here_differ(answered):
    member = {
        "kind": "trained",
        "network": "convnet",
        "options": {"channels": 2},
        "training": {"steps": 4, "warmup_steps": 1},
    }
    folder, metrics, _, _ = answered({"kind": "ensemble", "members": [member, member]})
    weights = [(folder / f"member-{place}" / "model.safetensors").read_bytes() for place in (0, 1)]
    assert weights[0] != weights[1]
    assert metrics["steps"] == 8
    assert not list(folder.rglob(".state"))


def test_a_live_method_runs_with_a_checkpoint_and_with_an_ensemble(write, tmp_path, capsys):
    made = network()
    save_file(made.state_dict(), tmp_path / "w.safetensors")
    checkpoint = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}}
    checkpoint["path"] = str(tmp_path / "w.safetensors")
    ensemble = {"kind": "ensemble", "members": [checkpoint, {**checkpoint, "mean": [0.1]}]}
    live = {**QUICK["distill"], "methods": [{"name": "mixup_kd", "options": {"live": True}}]}
    for section in (checkpoint, ensemble):
        config = write(section, distill=live)
        status, out, err = run(capsys, "run", config, "--store", tmp_path / "store", "--direct", "--json")
        assert status == 0, err
        assert len(json.loads(out)["results"]) == 1


def test_a_local_teacher_with_a_budget_is_recorded_and_judged_by_nobody(write, tmp_path, capsys):
    section = {"network": "convnet", "options": {"channels": 2}, "training": {"steps": 3, "warmup_steps": 1}}
    section["max_calls"] = 50
    config, store = write(section), tmp_path / "store"
    status, _, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 0, err
    assert calls_by_stage(next((store / "ledger").glob("*.sqlite"))) == {"answers": 50}
    config = write({**section, "max_calls": 49}, seed=1)
    status, _, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 4
    assert "of 49 0 are spent" in err
    free = write({**section, "max_calls": None}, seed=2)
    assert run(capsys, "run", free, "--store", store, "--direct", "--json")[0] == 0
    assert len(list((store / "ledger").glob("*.sqlite"))) == 2


@pytest.mark.parametrize(
    ("section", "status", "words"),
    [
        ({"kind": "checkpoint", "path": "none.pt"}, 2, "teacher.path must be a file, got 'none.pt'"),
        ({"kind": "onnx", "path": "none.onnx"}, 2, "teacher.path must be a file, got 'none.onnx'"),
        ({"kind": "factory", "factory": "nowhere:make"}, 2, "teacher.factory: there is no module 'nowhere'"),
        ({"kind": "pretrained", "model": "resnt18"}, 2, "teacher.model must be a model of torchvision, got 'resnt18'"),
        (
            {"kind": "pretrained", "model": "resnet18", "weights": "V9"},
            2,
            "teacher.weights must be one of IMAGENET1K_V1",
        ),
        ({"kind": "pretrained", "model": "fcn_resnet50"}, 2, "must be a classification model"),
        ({"kind": "http", "url": "http://x", "values": "normalised"}, 2, "teacher.values must be 'label' for class"),
        ({"kind": "http", "url": "http://x", "outputs": [1, 2]}, 2, "teacher.outputs must be 10 different column"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(write, tmp_path, capsys, section, status, words):
    done, _, err = run(capsys, "run", write(section), "--store", tmp_path / "store", "--direct")
    assert done == status
    assert words in err
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))


PLAIN_FUNCTION = """
    import pathlib
    import numpy as np

    def make():
        weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)

        def answer(images):
            with open(pathlib.Path(__file__).with_name("calls.txt"), "a") as file:
                file.write(f"{len(images)}\\n")
            return images.reshape(len(images), -1) @ weights
        return answer
"""


@pytest.fixture
def function(tmp_path, monkeypatch):
    """A factory that makes a function, and how many images the function was called with, padding included."""
    name = f"plain_function_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(PLAIN_FUNCTION))
    monkeypatch.chdir(tmp_path)
    calls = tmp_path / "calls.txt"
    return f"{name}:make", lambda: sum(map(int, calls.read_text().split())) if calls.exists() else 0


@pytest.mark.parametrize("kind", ["factory", "ensemble", "onnx"])
def test_a_teacher_that_is_no_network_is_assessed_all_the_same(write, tmp_path, capsys, function, kind):
    section = {"kind": "factory", "factory": function[0]}
    if kind == "ensemble":
        made = network()
        save_file(made.state_dict(), tmp_path / "w.safetensors")
        checkpoint = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}}
        section = {"kind": "ensemble", "members": [{**checkpoint, "path": str(tmp_path / "w.safetensors")}, section]}
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        export(network(), tmp_path / "teacher.onnx", external=False)
        section = {"kind": "onnx", "path": str(tmp_path / "teacher.onnx")}
    settings = {"enabled": True, "corruptions": ["gaussian_noise"], "severities": [3], "latency_batches": []}
    config, store = write(section, assess=settings), tmp_path / "store"
    status, _, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 0, err
    found = json.loads(next((store / "assess").glob("*/assess.json")).read_text())
    metrics = json.loads(next((store / "assess").glob("*/manifest.json")).read_text())["metrics"]
    assert (metrics["teacher_measured"], metrics["teacher_calls_to_judge"]) == ("free", 200)
    assert found["teacher"]["size"] is None
    assert found["teacher"]["robustness"]["accuracy"]["clean"] >= 0
    assert found["skipped"] == ["the teacher's size and latency, as it is no torch network that runs here."]
    assert 0 <= found["students"][0]["agreement"]["top1"] <= 100


def test_a_budget_of_nothing_asks_nothing(write, tmp_path, capsys, function):
    name, called = function
    config, store = write({"kind": "factory", "factory": name, "max_calls": 0}), tmp_path / "store"
    status, _, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 4
    assert "teacher.max_calls must allow 50 more images" in err
    assert called() == 0
    metrics = json.loads(next((store / "teacher").glob("*/manifest.json")).read_text())["metrics"]
    assert metrics == {}


@pytest.mark.parametrize("kind", ["factory", "trained", "ensemble"])
def test_test_images_are_paid_for_once_where_judging_may_cost(write, tmp_path, capsys, function, kind):
    section = {"kind": "factory", "factory": function[0]}
    training = {"steps": 3, "warmup_steps": 1}
    trained = {"kind": "trained", "network": "convnet", "options": {"channels": 2}, "training": training}
    section = {"trained": trained, "ensemble": {"kind": "ensemble", "members": [section, trained]}}.get(kind, section)
    section |= {"max_calls": 150, "judges": True}
    assess = {"enabled": True, "corruptions": ["gaussian_noise"], "severities": [3], "latency_batches": []}
    config, store = write(section, assess=assess), tmp_path / "store"
    status, _, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 0, err
    # One hundred test images and fifty training images.
    assert calls_by_stage(next((store / "ledger").glob("*.sqlite"))) == {"assess": 100, "answers": 50}
    assert len(list((store / "ledger").glob("*.sqlite"))) == 1
    metrics = json.loads(next((store / "assess").glob("*/manifest.json")).read_text())["metrics"]
    assert (metrics["paid_calls"], metrics["teacher_calls_to_judge"]) == (100, 100)
    reported = json.loads(next((store / "report").glob("*/report.json")).read_text())["teacher"]
    assert reported["value"] == metrics["teacher_figures"][0]["value"]


@pytest.mark.parametrize("kind", ["factory", "trained"])
def test_what_may_be_asked_changes_what_is_told_in_any_order(write, tmp_path, capsys, function, kind):
    training = {"steps": 3, "warmup_steps": 1}
    trained = {"kind": "trained", "network": "convnet", "options": {"channels": 2}, "training": training}
    section = {"factory": {"kind": "factory", "factory": function[0]}, "trained": trained}[kind]
    assess = {"enabled": True, "corruptions": [], "latency_batches": []}
    told, names = [], []
    for place, change in enumerate(({"max_calls": 1000}, {"max_calls": 1000, "judges": True}, {}, {"max_calls": 1000})):
        folder = tmp_path / str(place)
        folder.mkdir()
        config = write({**section, **change}, assess=assess)
        status, out, err = run(capsys, "run", config, "--store", tmp_path / "store", "--direct", "--json")
        assert status == 0, err
        summary = json.loads(out)
        told.append(json.loads(Path(summary["report"]).with_name("report.json").read_text())["teacher"]["value"])
        names.append(next(stage["fingerprint"] for stage in summary["stages"] if stage["stage"] == "teacher"))
    assert len(set(names)) == 1
    measured = kind == "trained"
    assert (told[0] is not None) == (told[3] is not None) == measured
    assert told[1] == told[2]
    assert told[1] is not None


@pytest.mark.parametrize("wanted", ["method", "ratio"])
def test_a_function_is_refused_at_once_where_a_network_is_needed(write, tmp_path, capsys, function, wanted):
    section = {"kind": "factory", "factory": function[0]}
    change = ["distill.methods=[{name: kd},{name: hint}]"]
    if wanted == "ratio":
        change = ["ratio.features=teacher", "distill.data=[real+synthetic]"]
    words = [word for item in change for word in ("--set", item)]
    status, _, err = run(capsys, "run", write(section), "--store", tmp_path / "store", "--direct", "--json", *words)
    assert status == 2
    assert "needs the teacher as a network, but teacher.factory makes a function" in err
    assert not list((tmp_path / "store" / "teacher").glob("*/manifest.json"))


def test_a_network_whose_logits_are_called_probabilities_is_refused(write, tmp_path, capsys):
    made = network()
    with torch.no_grad():
        # Empty images, on which a network is tried first, give it probabilities.
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    save_file(made.state_dict(), tmp_path / "w.safetensors")
    section = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}, "gives": "probabilities"}
    config = write({**section, "path": str(tmp_path / "w.safetensors")})
    arguments = ("run", config, "--store", tmp_path / "store", "--direct", "--json")
    status, _, err = run(capsys, *arguments)
    assert status == 4
    assert "w.safetensors must give probabilities in 0..1, got -" in err
    assert "set teacher.gives to logits" in err
    assert not list((tmp_path / "store" / "teacher").glob("*/manifest.json"))


def test_weights_that_are_not_finite_are_the_teachers_fault(write, tmp_path, capsys):
    state = network().state_dict()
    name = next(name for name in state if name.endswith("weight"))
    state[name].flatten()[0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    section = {"kind": "checkpoint", "network": "convnet", "options": {"channels": 3}, "path": str(tmp_path / "nan.pt")}
    status, _, err = run(capsys, "run", write(section), "--store", tmp_path / "store", "--direct", "--json")
    assert status == 3
    assert "nan.pt must have finite weights, got NaN or infinite ones in 'network." not in err
    assert f"nan.pt must have finite weights, got NaN or infinite ones in '{name}'" in err
