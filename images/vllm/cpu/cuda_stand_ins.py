"""Import the CUDA build of torch on a machine without CUDA: write stand-ins for the libraries that it links to.

Each stand-in is a shared object with the wanted soname that defines, under the wanted version names, every symbol which
torch's own objects still miss. A CUDA function answers 100 (no device), any other 0; nothing on a CPU calls them.
Saves 3.4 GB against installing the real libraries. Needs binutils and gcc. Usage: cuda_stand_ins.py [TORCH_LIB_DIR]
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HOST_LIBRARY = re.compile(r"^(ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|util|gomp)\.)")
HOST_VERSION = re.compile(r"^(GLIBC|CXXABI|GCC_|GOMP|OMP_|GLIBCXX)")
HOST_LIBRARIES = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2",
                  "librt.so.1", "ld-linux-x86-64.so.2")  # fmt: skip
PYTHON_SYMBOL = re.compile(r"^_?Py")
CUDA_FUNCTION = re.compile(r"^cu[a-zA-Z]")
NO_DEVICE = 100
# The driver is only looked for by an object that torch opens when a GPU is used.
NEVER_LOADED = {"libcuda.so.1"}
CUDA_RUNTIME = "libcudart.so.13"


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Linkage:
    """What torch's objects link to.

    missing: sonames that no file beside them provides.
    defined: symbols that they define themselves; wanted: (symbol, version name or "") that they leave open.
    library_of: soname that a version name belongs to.
    """

    missing: set[str]
    defined: set[str]
    wanted: set[tuple[str, str]]
    library_of: dict[str, str]


def read_linkage(objects: Iterable[Path]) -> Linkage:
    objects = list(objects)
    present = {path.name for path in objects}
    linkage = Linkage(set(), set(), set(), {})
    for path in objects:
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", str(path)))
        linkage.missing.update(name for name in needed if name not in present and not HOST_LIBRARY.match(name))
        for kind, symbol, version in dynamic_symbols(path):
            if kind == "U":
                linkage.wanted.add((symbol, version))
            elif kind not in "wv":
                linkage.defined.add(symbol)
        linkage.library_of.update(version_names(path))
    linkage.missing.difference_update(NEVER_LOADED)
    return linkage


def dynamic_symbols(path: Path) -> Iterator[tuple[str, str, str]]:
    for line in output("nm", "-D", str(path)).splitlines():
        if found := re.match(r"^[0-9a-f]*\s+([A-Za-z])\s+(\S+)$", line):
            symbol, _, version = found.group(2).replace("@@", "@").partition("@")
            yield found.group(1), symbol, version


def version_names(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    soname = ""
    for line in output("readelf", "-V", str(path)).splitlines():
        if found := re.search(r"File: (\S+)", line):
            soname = found.group(1)
        if soname and (found := re.search(r"Name: (\S+)", line)):
            names.setdefault(found.group(1), soname)
    return names


def host_symbols() -> set[str]:
    paths = (output("gcc", f"-print-file-name={name}").strip() for name in HOST_LIBRARIES)
    return {
        line.split()[-1].split("@")[0]
        for path in paths
        if Path(path).exists()
        for line in output("nm", "-D", "--defined-only", path).splitlines()
    }


def assign(linkage: Linkage) -> dict[str, dict[str, set[str]]]:
    """soname -> version name -> symbols that the stand-in of that soname must define."""
    host = host_symbols()
    home = CUDA_RUNTIME if CUDA_RUNTIME in linkage.missing else min(linkage.missing)
    plan: dict[str, dict[str, set[str]]] = {soname: defaultdict(set) for soname in linkage.missing}
    for symbol, version in linkage.wanted:
        if symbol in linkage.defined or PYTHON_SYMBOL.match(symbol) or HOST_VERSION.match(version):
            continue
        if version in linkage.missing:
            plan[version][version].add(symbol)
        elif symbol not in host:
            soname = linkage.library_of.get(version, "")
            plan[soname if soname in plan else home][version].add(symbol)
    return plan


def build(soname: str, versions: dict[str, set[str]], directory: Path) -> int:
    """Compile one stand-in; answers how many symbols it defines."""
    symbols = sorted(set().union(*versions.values()))
    source = [f"long {s}(void){{return {NO_DEVICE if CUDA_FUNCTION.match(s) else 0};}}" for s in symbols]
    source.append(f"int specdec_stand_in_{re.sub(r'[^A-Za-z0-9]', '_', soname)};")
    script = [f"{v} {{ global: {' '.join(f'{s};' for s in sorted(names))} }};" for v, names in versions.items() if v]
    with tempfile.TemporaryDirectory() as work:
        c_file, map_file = Path(work, "stand_in.c"), Path(work, "stand_in.map")
        c_file.write_text("\n".join(source))
        map_file.write_text("\n".join(script))
        command = ["gcc", "-shared", "-fPIC", "-O0", "-w", "-fno-builtin", f"-Wl,-soname,{soname}"]
        command += [f"-Wl,--version-script={map_file}"] if script else []
        subprocess.run([*command, "-o", str(directory / soname), str(c_file)], check=True)
    (directory / f"{soname}.stand-in").touch()
    return len(symbols)


def is_stand_in(path: Path) -> bool:
    return path.with_name(f"{path.name}.stand-in").exists()


def main() -> None:
    default = Path(sysconfig.get_path("platlib"), "torch", "lib")
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    objects = sorted((*directory.glob("*.so*"), *directory.parent.glob("_C*.so")))
    linkage = read_linkage(p for p in objects if not is_stand_in(p) and not p.name.endswith(".stand-in"))
    if not linkage.missing:
        print("no stand-ins needed")
        return
    total = sum(build(soname, versions, directory) for soname, versions in sorted(assign(linkage).items()))
    print(f"wrote {len(linkage.missing)} stand-ins with {total} symbols")


if __name__ == "__main__":
    main()
