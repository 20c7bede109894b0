"""Archives carry the full name by which a container runtime imports them, and only what was asked for."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.cluster.archives import NAME_ANNOTATION, Contents, rename_image, write_image


def _read(archive: Path, name: str) -> Any:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(name)
        assert member is not None
        return json.load(member)


def _blob(archive: Path, described: dict[str, Any]) -> bytes:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"blobs/{described['digest'].replace(':', '/')}")
        assert member is not None
        content = member.read()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
    assert len(content) == described["size"]
    return content


def _image(folder: Path) -> Path:
    program = folder / "program"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    contents = Contents(
        files={"/bin/program": program},
        folders={"/tmp": 0o1777},
        links={"/bin/also": "/bin/program"},
        entrypoint=["/x"],
    )
    write_image(folder / "image.tar", "localhost/thing:1", contents)
    return folder / "image.tar"


def test_an_image_holds_its_files_folders_and_links(tmp_path: Path) -> None:
    archive = _image(tmp_path)
    entry = _read(archive, "index.json")["manifests"][0]
    manifest = json.loads(_blob(archive, entry))
    assert json.loads(_blob(archive, manifest["config"]))["config"]["Entrypoint"] == ["/x"]
    with tarfile.open(fileobj=io.BytesIO(_blob(archive, manifest["layers"][0]))) as layer:
        kinds = {member.name: (member.mode, member.linkname, member.uid) for member in layer}
    assert kinds == {"tmp": (0o1777, "", 0), "bin/program": (0o755, "", 0), "bin/also": (0o777, "/bin/program", 0)}


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert _image(first).read_bytes() == _image(second).read_bytes()


def test_renaming_changes_the_name_and_nothing_else(tmp_path: Path) -> None:
    old, new = _image(tmp_path), tmp_path / "renamed.tar"
    rename_image(old, new, "docker.io/specdec/thing:dev")
    before, after = (_read(file, "index.json")["manifests"][0] for file in (old, new))
    assert before["annotations"][NAME_ANNOTATION] == "localhost/thing:1"
    assert after["annotations"][NAME_ANNOTATION] == "docker.io/specdec/thing:dev"
    assert before["digest"] == after["digest"]
    assert _blob(new, after)
