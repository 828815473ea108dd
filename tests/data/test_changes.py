"""Why a stage would run, in words."""

from data.changes import differences, flatten, reason
from data.store import Request, Store


def request(**changes):
    fields = {"stage": "ratio", "version": 1, "config": {"steps": 3, "net": {"width": 8}}, "inputs": {}, "label": "x"}
    return Request(**{**fields, **changes})


def test_flatten_reaches_every_leaf():
    value = {"a": {"b": 1}, "c": [1, 2], "d": [{"e": 1}, {"e": 2}], "f": {}}
    assert dict(flatten(value)) == {"a.b": 1, "c": [1, 2], "d[0].e": 1, "d[1].e": 2, "f": {}}


def test_differences_name_absent_keys_too():
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == [("a", 1, None), ("b", 2, 3), ("c", None, 4)]


def test_reason_names_the_changed_key_input_and_version(tmp_path):
    store = Store(tmp_path)
    assert reason(store, request()) == "never made"
    store.build(request(inputs={"real": "a"}), lambda workspace: {})
    changed = request(config={"steps": 3, "net": {"width": 16}}, inputs={"real": "a"})
    assert reason(store, changed) == "changed: net.width 8 -> 16"
    assert reason(store, request(inputs={"real": "b"})) == "changed: input real"
    assert reason(store, request(inputs={"real": "a"}, version=2)) == "changed: recipe version 1 -> 2"
    assert reason(store, request(label="another experiment")) == "never made"


def test_reason_takes_the_nearest_artifact(tmp_path):
    store = Store(tmp_path)
    store.build(request(config={"steps": 1, "net": {"width": 1}}), lambda workspace: {})
    store.build(request(config={"steps": 3, "net": {"width": 1}}), lambda workspace: {})
    assert reason(store, request()) == "changed: net.width 1 -> 8"


def test_reason_tells_damage_and_unfinished_work(tmp_path):
    store = Store(tmp_path)
    artifact, _ = store.build(request(), lambda workspace: workspace.path("a").write_text("a") and {})
    artifact.path("a").unlink()
    assert reason(store, request()) == "damaged: a is missing"
    artifact.folder.rename(artifact.folder.with_name(artifact.fingerprint + ".work"))
    assert reason(store, request()).startswith("unfinished")


def test_long_lists_of_changes_are_counted(tmp_path):
    store = Store(tmp_path)
    inputs = {f"student {number}": "a" for number in range(8)}
    store.build(request(inputs=inputs), lambda workspace: {})
    assert reason(store, request(inputs=dict.fromkeys(inputs, "b"))) == "changed: input student 0 and 7 more"
    more = {"steps": 4, "net": {"width": 8}, **{f"key{number}": number for number in range(4)}}
    told = reason(store, request(config=more, inputs={**inputs, "student 3": "b"}))
    assert told == "changed: steps 3 -> 4 and 4 more, input student 3"
