"""Prints requirements.lock: the whole closure of what pyproject.toml asks for, pinned.

Run through `make lock`. It asks pip to resolve (and to install nothing) what the project needs to run, its extras
`dev`, `export`, `onnx` and `timm`, and what builds it; then it prints one `name==version` a line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HEADER = """\
# Every package of the environment of `make env`, pinned, for Linux on x86-64 with Python 3.11.
# Made by `make lock`, which keeps the pins that still fit; `make lock UPGRADE=1` takes the newest releases.
# It is the closure of pyproject.toml's dependencies, its extras dev, export, onnx and timm, and its build requirements.
"""
EXTRAS = ("dev", "export", "onnx", "timm")


def main(arguments: list[str]) -> None:
    """Resolves and prints; further arguments (such as a constraints file) go to pip."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in EXTRAS:
        wanted += project["project"]["optional-dependencies"][extra]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), *arguments, *wanted], check=True, stdout=sys.stderr)
        resolved = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    pins = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in resolved}
    print(HEADER + "\n".join(f"{name}=={version}" for name, version in sorted(pins.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
