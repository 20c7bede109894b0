"""What goes into an image decides when it is built again."""

from pathlib import Path

import pytest

from tests.cluster import builders
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


def test_a_build_tells_its_steps_and_keeps_everything_in_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "build.log"
    builders._logged(["printf", "[1/2] STEP 4/11: RUN make\\nmuch\\n#7 [build 3/9] COPY a b\\n"], log)
    assert capsys.readouterr().err == "  [1/2] STEP 4/11: RUN make\n  #7 [build 3/9] COPY a b\n"
    assert "much\n" in log.read_text()


def test_a_build_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"sh failed \(3\).*build\.log:\nno space left"):
        builders._logged(["sh", "-c", "echo no space left; exit 3"], tmp_path / "build.log")


def test_a_build_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "BUILD_LIMIT_SECONDS", 0.1)
    with pytest.raises(ImageError, match=r"took longer than 0 s; read"):
        builders._logged(["sleep", "60"], tmp_path / "build.log")
