"""Where weights come from: the Hugging Face hub, a volume, or an OCI image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specdec.api.rules import Model, Rule, matching

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "is not a name of an object; use lower-case letters, digits, '-' and '.'"
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=512)]


class SecretKey(Model):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key within it."""


class HuggingFace(Model):
    """A repository on the Hugging Face hub, downloaded into the cache by the engine."""

    repo: Annotated[
        str,
        Field(max_length=200),
        matching(
            r"[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*",
            "is not a repository; write owner/name, such as deepseek-ai/DeepSeek-V4-Flash",
        ),
    ]
    """Repository, `owner/name`."""
    revision: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Commit, branch or tag. Name a commit: a branch that moves changes the model under a running fleet."""
    token_secret_ref: SecretKey | None = None
    """Access token of the hub, for gated or private repositories."""


class ModelVolume(Model):
    """A directory of a PersistentVolumeClaim, mounted read-only."""

    claim_name: ObjectName
    """Name of the claim, in the same namespace."""
    path: Annotated[str, Field(max_length=512, pattern=r"^[^/]")] | None = None
    """Directory within the volume, relative. The volume's root if unset."""


class ModelImage(Model):
    """An OCI image whose content is mounted read-only (image volume, Kubernetes 1.33 or later)."""

    reference: Text
    """Image reference, best with a digest."""
    path: Annotated[str, Field(max_length=512, pattern=r"^[^/]")] | None = None
    """Directory within the image, relative. The image's root if unset."""


class Source(Model):
    """Exactly one of `huggingFace`, `pvc` and `image`."""

    hugging_face: HuggingFace | None = None
    """A repository on the Hugging Face hub."""
    pvc: ModelVolume | None = None
    """A directory of a PersistentVolumeClaim."""
    image: ModelImage | None = None
    """An OCI image."""

    rules = (
        Rule(
            cel="[has(self.huggingFace), has(self.pvc), has(self.image)].filter(given, given).size() == 1",
            holds=lambda self: [self.hugging_face, self.pvc, self.image].count(None) == 2,
            message="needs exactly one source; keep one of huggingFace, pvc and image and remove the others",
        ),
    )

    @property
    def text(self) -> str:
        """What the weights are called, for humans and for recognising the model family."""
        if self.hugging_face:
            return self.hugging_face.repo
        if self.pvc:
            return f"{self.pvc.claim_name}/{self.pvc.path or ''}"
        return f"{self.image.reference}/{self.image.path or ''}" if self.image else ""
