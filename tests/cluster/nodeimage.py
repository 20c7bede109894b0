"""The file system of a kind node where none can be pulled: Debian with systemd, our programs, and the cluster's images.

kind's own files (entry point, units) are taken from its module; what differs is in `kindnode/`: a pod network that
needs no image, settings for engines without CAP_SYS_RESOURCE, and kernel defaults that are shown instead of set.
"""

import hashlib
import json
import shutil
import signal
from pathlib import Path
from typing import Final

from tests.cluster import baseimage, proxyimage, tools
from tests.cluster.archives import Contents, write_image
from tests.cluster.network import KERNEL_DEFAULTS
from tests.cluster.places import cache_dir, say
from tests.cluster.processes import Ledger, run
from tests.cluster.systemimages import BUSYBOX, busybox, coredns, pause

PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "procps", "kmod", "mount", "util-linux", "hostname", "ca-certificates"),
    *("iproute2", "iptables", "nftables", "conntrack", "ethtool", "jq", "curl"),
    *("containerd", "runc", "containernetworking-plugins"),
)
OWN_FILES: Final = Path(__file__).with_name("kindnode")
# Units that Debian enables and that have no place in a container; kind's recipe removes the same.
UNWANTED_UNITS: Final = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "lib/systemd/system/multi-user.target.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
    "etc/systemd/system/*.wants/*",
    # settings for a whole machine, such as the largest process id
    "usr/lib/sysctl.d/*.conf",
)
ENABLED_UNITS: Final = ("kubelet", "containerd", "undo-mount-hacks", "pod-network")
ENTRYPOINT: Final = ("/usr/local/bin/kernel-defaults", "/usr/local/bin/entrypoint", "/sbin/init")
IMPORT_LIMIT_SECONDS: Final = 600.0
KEPT_ARCHIVES: Final = 2


def key() -> str:
    """Twelve digits for all that decides how the node comes out."""
    digest = hashlib.sha256(repr((PACKAGES, UNWANTED_UNITS, KERNEL_DEFAULTS, baseimage.SUITE)).encode())
    programs = [str(tools.path(name)) for name in ("kubelet", "coredns", "kind")]
    digest.update(" ".join(programs).encode() + Path(proxyimage.__file__).read_bytes() + Path(__file__).read_bytes())
    for file in sorted(OWN_FILES.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def reference() -> str:
    """The name of the node image in the container engine."""
    return f"specdec/kind-node:{key()}"


def archive() -> Path:
    """The tar file of the node's file system; made where missing (a few minutes)."""
    target = cache_dir() / "kind-node" / f"{key()}.tar"
    if not target.exists():
        tree = target.with_suffix(".tree")
        say("making kind's node image: Debian with systemd (1 of 3, a minute or two)")
        baseimage.bootstrap(tree, PACKAGES)
        say("making kind's node image: programs and settings (2 of 3)")
        _furnish(tree)
        say("making kind's node image: the control plane's images (3 of 3)")
        _preload(tree, target.with_suffix(".work"))
        fresh = target.with_suffix(".new")
        run("tar", "--numeric-owner", "--xattrs", "-C", tree, "-cf", fresh, ".", limit=IMPORT_LIMIT_SECONDS)
        shutil.rmtree(tree)
        fresh.replace(target)
        for old in sorted(target.parent.glob("*.tar"), key=lambda file: file.stat().st_mtime)[:-KEPT_ARCHIVES]:
            old.unlink()
    return target


def _furnish(tree: Path) -> None:
    theirs = tools.module_folder("kind", "sigs.k8s.io/kind") / "images" / "base" / "files"
    for source in ("etc", "kind", "usr"):
        _copy(theirs / source, tree / source)
    _choose_units(tree)
    for name in ("pod-network", "kernel-defaults"):
        _install(OWN_FILES / name, tree / "usr/local/bin" / name)
    shutil.copy(OWN_FILES / "pod-network.service", tree / "etc/systemd/system")
    for name in ("kubelet", "kubeadm", "kubectl"):
        _install(tools.path(name), tree / "usr/bin" / name)
    (tree / "usr/local/bin/containerd").symlink_to("/usr/bin/containerd")
    settings = (OWN_FILES / "containerd.toml").read_text().replace("PAUSE_IMAGE", _named("pause"))
    (tree / "etc/containerd/config.toml").write_text(settings)
    _put(tree / "kind/version", tools.KUBERNETES_VERSION)
    _put(tree / "kind/manifests/default-storage.yaml", (OWN_FILES / "default-storage.yaml").read_text())
    for path, value in KERNEL_DEFAULTS.items():
        _put(tree / "etc/kernel-defaults" / path.replace("/", "."), f"{value}\n")
    for folder in ("etc/kubernetes/manifests", "etc/cni/net.d"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for stray in (tree / "etc/cni/net.d").iterdir():
        stray.unlink()
    with (tree / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")


def _choose_units(tree: Path) -> None:
    for pattern in UNWANTED_UNITS:
        for file in tree.glob(pattern):
            file.unlink()
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for unit in ENABLED_UNITS:
        (wants / f"{unit}.service").symlink_to(f"/etc/systemd/system/{unit}.service")
    (tree / "etc/systemd/system/systemd-binfmt.service").symlink_to("/dev/null")


def _preload(tree: Path, work: Path) -> None:
    """Put the images that kubeadm starts into the node's own image store, by a containerd that runs on it here."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    store = tree / "var/lib/containerd"
    shutil.rmtree(store, ignore_errors=True)
    config, socket = work / "containerd.toml", work / "containerd.sock"
    config.write_text(
        f'version = 2\nroot = "{store}"\nstate = "{work}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{socket}"\n'
    )
    ctr = ("ctr", "--address", socket, "--namespace", "k8s.io")
    daemons = Ledger(work)
    daemons.start("containerd", "unshare", "--mount", "--propagation", "private", "containerd", "--config", config)
    try:
        daemons.wait("containerd answers", lambda: "Server:" in run(*ctr, "version", check=False))
        for name, file in _images(tree, work).items():
            run(*ctr, "images", "import", file, limit=IMPORT_LIMIT_SECONDS)
            # without this mark the kubelet's runtime would not list it
            run(*ctr, "images", "label", name, "io.cri-containerd.image=managed")
    finally:
        daemons.stop("containerd", signal.SIGTERM)
    shutil.rmtree(work)


def _images(tree: Path, work: Path) -> dict[str, Path]:
    """Full name, as kubeadm wants it -> archive."""
    made: dict[str, Path] = {}
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        made[_named(name)] = work / f"{name}.tar"
        contents = Contents(files={f"/usr/local/bin/{name}": tools.path(name)}, entrypoint=[name])
        write_image(work / f"{name}.tar", _named(name), contents)
    made[_named("kube-proxy")] = proxyimage.write(tree, work / "kube-proxy.tar", _named("kube-proxy"))
    made |= {_named("coredns"): coredns(_named("coredns")), _named("pause"): pause(_named("pause"))}
    return {**made, BUSYBOX: busybox(BUSYBOX)}


def _named(name: str) -> str:
    """The full image name that this kubeadm uses for a component."""
    version = tools.KUBERNETES_VERSION
    listed = run(tools.path("kubeadm"), "config", "images", "list", "--kubernetes-version", version, "-o", "json")
    return next(str(image) for image in json.loads(listed)["images"] if image.rpartition(":")[0].endswith(f"/{name}"))


def _copy(source: Path, target: Path) -> None:
    """Copy a folder of the module (read-only there), scripts executable."""
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            scripts = file.parent.name == "bin"
            _install(file, place, 0o755 if scripts else 0o644)


def _install(source: Path, target: Path, mode: int = 0o755) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
