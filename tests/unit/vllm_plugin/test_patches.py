"""The guards around a source patch, on a made-up upstream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from specdec_vllm import patches
from specdec_vllm.patches.definitions import PATCHES
from specdec_vllm.patches.source import PatchError, PatchState, SourcePatch, digest, function_text, patched, state
from specdec_vllm.releases import TESTED

UPSTREAM = '''class Model:
    def width(self):
        """How wide."""
        return self.hidden


def width():
    return 0
'''
PATCH = SourcePatch(
    name="wider",
    path="model.py",
    function="Model.width",
    digests={"0.33.0": digest(function_text(UPSTREAM, "Model.width"))},
    changes=(("return self.hidden", "# specdec-vllm: all streams\n        return self.hidden * 4"),),
)

OLDER = replace(PATCH, changes=(("return self.hidden", "# specdec-vllm: all streams\n        return self.hidden * 2"),))


@pytest.mark.parametrize(
    ("source", "release", "expected"),
    [
        pytest.param(UPSTREAM, "0.33.0", PatchState.NEEDED, id="as published"),
        pytest.param(patched(PATCH, UPSTREAM), "0.33.0", PatchState.APPLIED, id="made before"),
        pytest.param(patched(OLDER, UPSTREAM), "0.33.0", PatchState.UNKNOWN, id="made by another version"),
        pytest.param(UPSTREAM.replace("hidden", "other"), "0.33.0", PatchState.UNKNOWN, id="another text"),
        pytest.param(UPSTREAM.replace("width", "size"), "0.33.0", PatchState.UNKNOWN, id="the function is gone"),
        pytest.param(UPSTREAM, "0.32.0", PatchState.NOT_NEEDED, id="vLLM does it"),
    ],
)
def test_states(source: str, release: str, expected: PatchState) -> None:
    assert state(PATCH, source, release) is expected


def test_only_the_named_function_changes() -> None:
    text = patched(PATCH, UPSTREAM)
    assert "return self.hidden * 4" in function_text(text, "Model.width")
    assert function_text(text, "width") == function_text(UPSTREAM, "width")


def test_a_text_that_is_not_there_once_is_refused() -> None:
    with pytest.raises(PatchError, match="occurs 0 times"):
        patched(replace(PATCH, changes=(("nowhere", ""),)), UPSTREAM)


def test_nothing_is_written_when_one_patch_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(PATCH, name="other", path="other.py")
    monkeypatch.setattr(patches, "PATCHES", (PATCH, other))
    (tmp_path / "model.py").write_text(UPSTREAM)
    (tmp_path / "other.py").write_text(UPSTREAM.replace("hidden", "other"))
    with pytest.raises(PatchError, match=r"patch other: Model\.width in other\.py of vLLM 0\.33\.0"):
        patches.apply(tmp_path, "0.33.0")
    assert (tmp_path / "model.py").read_text() == UPSTREAM


def test_a_file_that_is_shared_on_disk_is_replaced_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "PATCHES", (PATCH,))
    shared = tmp_path / "shared.py"
    shared.write_text(UPSTREAM)
    (tmp_path / "model.py").hardlink_to(shared)
    assert patches.apply(tmp_path, "0.33.0") == {PATCH: PatchState.NEEDED}
    assert patches.apply(tmp_path, "0.33.0") == {PATCH: PatchState.APPLIED}
    assert shared.read_text() == UPSTREAM


def test_every_patch_knows_the_newest_release() -> None:
    assert all(TESTED[-1] in patch.digests for patch in PATCHES)
    assert all(set(patch.digests) <= set(TESTED) for patch in PATCHES)
