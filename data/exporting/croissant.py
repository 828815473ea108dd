"""A set as Croissant 1.1 JSON-LD (Akhtar et al., 2024, arXiv 2403.19546), which search engines and mlcroissant read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data.exporting.about import About, description_of, title_of
from data.exporting.citations import cite_set
from data.exporting.licenses import license_urls
from data.files import sha256_of
from data.reading import ImageSet

FILE = "croissant.json"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    found: ImageSet, about: About, distribution: Sequence[dict[str, Any]], record_sets: Sequence[dict[str, Any]] = ()
) -> str:
    """The JSON-LD of a set, the same text for the same input.

    The day of publication is told only if a person told it: mlcroissant warns where it is missing.

    Args:
        found: any set.
        about: what is told of it beyond its file.
        distribution: its files, see ``file_object``.
        record_sets: what the files hold, where mlcroissant can read them.
    """
    value: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": title_of(found, about),
        "description": description_of(found, about),
        "version": about.version,
        "license": license_urls(found.license),
        "citeAs": cite_set(found, about),
        "keywords": ["stillhouse", found.kind, f"{found.label_space.kind} labels"],
        "identifier": f"sha256:{found.content_sha256}",
        "distribution": list(distribution),
    }
    if about.creators:
        value["creator"] = [{"@type": "sc:Organization", "name": name} for name in about.creators]
    if about.publisher:
        value["publisher"] = {"@type": "sc:Organization", "name": about.publisher}
    if about.published:
        value["datePublished"] = about.published
    if about.url:
        value["url"] = about.url
    if record_sets:
        value["recordSet"] = list(record_sets)
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def file_object(path: Path, name: str, media_type: str, description: str) -> dict[str, Any]:
    """A file of a set, with its size and digest.

    Args:
        path: the file, which is read.
        name: its path relative to the JSON-LD.
        media_type: such as application/x-hdf5.
        description: what it holds.
    """
    return {
        "@type": "cr:FileObject",
        "@id": identifier(name),
        "name": name,
        "description": description,
        "contentUrl": quote(name),
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": media_type,
        "sha256": sha256_of(path),
    }


def identifier(name: str) -> str:
    """A name as an identifier within the JSON-LD: mlcroissant takes no spaces there, not even as %20."""
    return re.sub(r"[^\w./-]+", "_", name)
