"""What goes into an image decides when it is built again."""

from pathlib import Path

import pytest

from tests.cluster.builders import ImageError
from tests.cluster.images import IMAGES, find, inputs


def _context(folder: Path, dockerfile: str) -> Path:
    (folder / "app" / "inner").mkdir(parents=True)
    for name in ("app/main.py", "app/inner/part.py", "pins.txt", "other.txt"):
        (folder / name).write_text(name)
    (folder / "Dockerfile").write_text(dockerfile)
    return folder / "Dockerfile"


@pytest.mark.parametrize(
    ("line", "copied"),
    [
        pytest.param("COPY pins.txt /pins.txt", ["pins.txt"], id="a file"),
        pytest.param("COPY app /app", ["app/inner/part.py", "app/main.py"], id="a folder, with all below it"),
        pytest.param("COPY --chmod=0755 pins.txt other.txt /", ["pins.txt", "other.txt"], id="several, with a flag"),
        pytest.param("COPY pins.txt \\\n  other.txt /", ["pins.txt", "other.txt"], id="over two lines"),
        pytest.param("COPY *.txt /", ["other.txt", "pins.txt"], id="a pattern"),
        pytest.param("COPY --from=build /app /app", [], id="another stage is no input"),
        pytest.param("RUN echo COPY pins.txt /", [], id="a command that only mentions it"),
    ],
)
def test_the_inputs_are_what_the_dockerfile_copies(tmp_path: Path, line: str, copied: list[str]) -> None:
    dockerfile = _context(tmp_path, f"FROM scratch\n{line}\n")
    assert [str(file.relative_to(tmp_path)) for file in inputs(dockerfile, tmp_path)] == copied


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    dockerfile = _context(tmp_path, "FROM scratch\nCOPY gone.txt /\n")
    with pytest.raises(ImageError, match=r"copies gone\.txt, which is not in"):
        list(inputs(dockerfile, tmp_path))


def test_an_unknown_image_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ImageError, match="no image 'oprator'; there are: operator, simulator"):
        find("oprator")


def test_images_are_named_as_the_chart_and_the_examples_name_them() -> None:
    assert IMAGES["operator"].reference == "docker.io/specdec/operator:dev"
    assert IMAGES["vllm"].reference == "docker.io/specdec/vllm:dev-cpu"
