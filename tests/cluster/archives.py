"""OCI image archives: writes small ones, and gives any of them the full name that containerd imports it by."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

NAME_ANNOTATION: Final = "io.containerd.image.name"
TAG_ANNOTATION: Final = "org.opencontainers.image.ref.name"
_LAYOUT: Final = {"imageLayoutVersion": "1.0.0"}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a one-layer image holds.

    files: path in the image -> file here. folders: path -> mode. links: path -> target. tree: folder laid at the root.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    tree: Path | None = None
    entrypoint: Sequence[str] = ()
    user: str = ""


def write_image(target: Path, reference: str, contents: Contents) -> None:
    """Write `contents` as the archive `target`, named `reference` (registry/name:tag)."""
    layer = _layer(contents)
    config = _json(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Entrypoint": list(contents.entrypoint),
                "User": contents.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            # buildah refuses to build on an image with more layers than history
            "history": [{"created_by": Path(__file__).name}],
        }
    )
    kind = "application/vnd.oci.image"
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": _described(f"{kind}.config.v1+json", config),
            "layers": [_described(f"{kind}.layer.v1.tar", layer)],
        }
    )
    entry = _described(f"{kind}.manifest.v1+json", manifest)
    entry["annotations"] = _names(reference)
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    fresh = target.with_suffix(".new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fresh, "w") as archive:
        _put(archive, "oci-layout", _json(_LAYOUT))
        _put(archive, "index.json", index)
        for blob in (config, layer, manifest):
            _put(archive, _blob_path(blob), blob)
    fresh.replace(target)


def rename_image(source: Path, target: Path, reference: str) -> None:
    """Copy the archive `source` to `target` with `reference` as the name of its only image."""
    fresh = target.with_suffix(".new")
    with tarfile.open(source) as old, tarfile.open(fresh, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name.removeprefix("./") == "index.json" and content is not None:
                index = json.load(content)
                index["manifests"][0]["annotations"] = _names(reference)
                _put(new, "index.json", _json(index))
            else:
                new.addfile(member, content)
    fresh.replace(target)


def _layer(contents: Contents) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as layer:
        if contents.tree is not None:
            layer.add(contents.tree, arcname=".", filter=_timeless)
        for path, mode in contents.folders.items():
            layer.addfile(_entry(path, tarfile.DIRTYPE, mode))
        for path, source in contents.files.items():
            entry = _entry(path, tarfile.REGTYPE, source.stat().st_mode & 0o777)
            entry.size = source.stat().st_size
            with source.open("rb") as content:
                layer.addfile(entry, content)
        for path, target in contents.links.items():
            entry = _entry(path, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            layer.addfile(entry)
    return raw.getvalue()


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode = kind, mode
    return entry


def _timeless(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = 0
    return entry


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _names(reference: str) -> dict[str, str]:
    return {NAME_ANNOTATION: reference, TAG_ANNOTATION: reference.rpartition(":")[2]}


def _described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _blob_path(blob: bytes) -> str:
    return f"blobs/{_digest(blob).replace(':', '/')}"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
