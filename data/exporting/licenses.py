"""SPDX expressions as other formats write licences."""

from __future__ import annotations

import re

from data.foreign import UNKNOWN_LICENSE

_ONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*\+?")
# Licences by the identifiers that the Hugging Face hub knows, all of which are SPDX identifiers in lower case.
_HUB = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0", "cc-by-2.5",
    "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mit",
    "mpl-2.0", "ms-pl", "ncsa", "odbl", "ofl-1.1", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
}  # fmt: skip


def license_urls(expression: str) -> list[str]:
    """What tells a licence to a machine: the pages of the licences that all apply, or else the expression itself.

    A choice (OR), an exception (WITH), a licence of somebody's own (LicenseRef-...) and none at all stay as they are.
    """
    parts = [part.strip(" ()") for part in expression.split(" AND ")]
    if all(_ONE.fullmatch(part) and _listed(part) for part in parts):
        return [f"https://spdx.org/licenses/{part}.html" for part in dict.fromkeys(parts)]
    return [expression]


def hub_license(expression: str) -> dict[str, str]:
    """The licence as the header of a README on the Hugging Face hub tells it."""
    name = re.sub(r"-(only|or-later)$", "", expression.lower())
    if name in _HUB:
        return {"license": name}
    if expression == UNKNOWN_LICENSE:
        return {"license": "unknown"}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.-]+", "-", expression.lower()).strip("-")}


def _listed(name: str) -> bool:
    return not name.startswith(("LicenseRef-", "DocumentRef-")) and name not in (UNKNOWN_LICENSE, "NONE")
