"""The commands that look: list, report, data info, data verify."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from data.errors import ConfigError, DataError
from data.store import MANIFEST, Store


def list_command(what: str, store_path: Path, *, as_json: bool) -> None:
    """Lists sources, generators, networks, methods or runs."""
    from data.sources import sources
    from generators.networks import networks as generators
    from students.methods import methods
    from students.networks import networks

    registries = {"sources": sources, "generators": generators, "networks": networks, "methods": methods}
    if what == "runs":
        rows = [_run_row(path) for path in sorted((store_path / "runs").glob("*.json"))]
    elif what in registries:
        registry: Any = registries[what]
        rows = [{"name": name, "about": registry.about(name)} for name in registry.names()]
        if what == "methods":
            rows = [row | _method_row(row["name"]) for row in rows]
    else:
        raise ConfigError(f"list must be one of {', '.join(registries)} or runs, got '{what}'.")
    if as_json:
        print(json.dumps(rows))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['about']}")
        if what == "methods":
            print(f"{'':{width}}    for {', '.join(row['tasks'])} labels; needs {', '.join(row['needs'])}")
    if not rows:
        print(f"no {what} in {store_path}")


def _method_row(name: str) -> dict[str, Any]:
    """Kinds of labels that a method serves, and what it reads with the options that it has by default."""
    from data.labels import KINDS
    from students.methods import NEEDS, make_method

    method = make_method(name)
    return {
        "tasks": [kind for kind in KINDS if kind in method.tasks],
        "needs": [need for need in NEEDS if need in method.needs],
    }


def _run_row(path: Path) -> dict[str, Any]:
    record = _read_run(path)
    source = record["config"]["source"]["kind"]
    return {"name": path.stem, "about": f"{source}, {len(record['stages'])} stages"}


def _read_run(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["config"]["source"]["kind"], record["stages"][-1]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"run record {path} cannot be read; delete it, then run the configuration again.") from error
    return record


def report_command(run_name: str, store_path: Path, *, as_json: bool) -> None:
    """Prints the result table of a run, or of an ablation, and the path of its page."""
    from flows.terminal import show_ablation, show_results

    path = store_path / "runs" / f"{run_name}.json"
    if Path(run_name).name != run_name or not path.is_file():
        raise ConfigError(f"RUN must be a run of {store_path}, got '{run_name}'; {_nearest_run(run_name, store_path)}")
    last = _read_run(path)["stages"][-1]
    kind = "ablation" if last.get("stage") == "ablation" else "report"
    artifact = Store(store_path).find(kind, last["fingerprint"])
    if artifact is None:
        raise DataError(f"the report of {run_name} is not in {store_path}; run its configuration again.")
    report = json.loads(artifact.path(f"{kind}.json").read_text(encoding="utf-8"))
    page = artifact.path(f"{kind}.html")
    if as_json:
        print(json.dumps({**report, "report": str(page)}))
        return
    console = Console(highlight=False)
    (show_ablation if kind == "ablation" else show_results)(console, report)
    console.print(f"Report: {page}", soft_wrap=True)


def _nearest_run(run_name: str, store_path: Path) -> str:
    """A hint at the run that was probably meant: the latest whose name starts so, or one of a similar name."""
    latest = sorted((store_path / "runs").glob("*.json"), key=lambda item: (item.stat().st_mtime_ns, item.name))
    known = [item.stem for item in reversed(latest)]
    same = [name for name in known if run_name and name.startswith(run_name)]
    if same:
        return f"try {'the latest, ' if len(same) > 1 else ''}{same[0]}."
    near = difflib.get_close_matches(run_name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not known:
        return "it has none yet."
    if len(known) == 1:
        return f"it has {known[0]}."
    return f"the latest is {known[0]}, and 'stillhouse list runs' shows all {len(known)}."


def info_command(file: Path, *, as_json: bool) -> None:
    """Prints what a stranger needs to know of a set.

    Raises:
        DataError: if it cannot be read.
    """
    from data.describing import describe_set
    from data.untrusted import open_untrusted
    from flows.set_history import history_of
    from flows.set_info import info_text

    found = open_untrusted(only_set(file))
    description = describe_set(found)
    print(json.dumps(description) if as_json else info_text(found, description, history_of(found.path)[0]))


def verify_command(file: Path, *, as_json: bool) -> None:
    """Compares every byte of a set, or of an artifact, with its digests.

    Raises:
        DataError: naming the first thing that is damaged.
    """
    if file.is_dir():
        folder = file.resolve()
        damage = Store(folder.parent.parent).damage(folder.parent.name, folder.name, deep=True)
        if damage is not None:
            raise DataError(f"{file} is damaged: {damage}; run its configuration again to make it anew.")
        result: dict[str, Any] = {"artifact": str(file), "whole": True}
    else:
        from data.untrusted import verify_untrusted

        result = verify_untrusted(file)
    print(json.dumps(result) if as_json else f"{file} is whole.")


def only_set(file: Path) -> Path:
    """The set that a person names by its file, or by the folder of an artifact with one set."""
    if not file.is_dir():
        return file
    sets = sorted(file.glob("*.h5"))
    if not sets:
        what = "an artifact without HDF5 sets" if (file / MANIFEST).is_file() else "a folder that is no artifact"
        raise DataError(f"FILE must be an HDF5 set or the folder of an artifact that holds one, got {what}: {file}.")
    if len(sets) > 1:
        raise DataError(f"{file} holds several sets ({', '.join(path.name for path in sets)}); name one of them.")
    return sets[0]
