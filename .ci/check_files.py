"""Refuses files over 1 MB, trailing whitespace, and a text that does not end in exactly one newline."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LARGEST_BYTES = 1_000_000


def faults(path: Path) -> list[str]:
    """What is wrong with one file, one sentence a fault."""
    content = path.read_bytes()
    if len(content) > LARGEST_BYTES:
        return [f"{path}: must be at most {LARGEST_BYTES} bytes, got {len(content)}; keep it out of the repository."]
    if not content or b"\0" in content:
        return []
    found = [
        f"{path}:{number}: ends in whitespace."
        for number, line in enumerate(content.split(b"\n"), start=1)
        if re.search(rb"[ \t\r]$", line)
    ]
    if not content.endswith(b"\n") or content.endswith(b"\n\n"):
        found.append(f"{path}: must end in exactly one newline.")
    return found


def main(names: list[str]) -> int:
    """Prints every fault of the named files; returns 1 if there is one."""
    found = [fault for name in names if not Path(name).is_symlink() for fault in faults(Path(name))]
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
