"""Defines the peers, and the floors that no contestant can be faster than."""

from benchmarks.contestants import Contestant, last_line, matching_files, silent
from benchmarks.generate import trees
from benchmarks.place import Place

_PREDECESSOR_START = "predecessor-start"
_BARE_START = "bare-client-start"
_OBSTORE_START = "bare-obstore-start"


def peer_contestants(place: Place, one: Place) -> list[Contestant]:
    """Return the peers, in the order in which they run.

    Tools that compare two trees are left out if storage is shared.
    """
    both = len(place.trees) == 2
    found = [_registry_client(one, "registry-client-start"), _registry_client(place, "registry-client")]
    if place.store == "local":
        found += [*(_comparing(place) if both else []), *_floors(place)]
    else:
        found += [
            _bare_http(one, _BARE_START),
            _bare_http(place, "bare-client"),
            _bare_http(place, "bare-client", "sha256"),
        ]
        if place.store == "s3":
            found += [_bare_obstore(one, _OBSTORE_START), _bare_obstore(place, "bare-obstore-sha256")]
        if place.store == "s3" and both:
            found += _rclone(place, f":s3:{place.shape.name}")
    # These run last because they write: their dirty pages are flushed before the next round.
    return [*found, _predecessor(one, _PREDECESSOR_START), _predecessor(place, "predecessor")]


def _comparing(place: Place) -> list[Contestant]:
    models = place.shape.directories
    return [
        *_rclone(place, place.shape.name),
        Contestant("diff", "diff -rq", ("diff", "-rq", *place.trees), lambda output, cwd: silent(output)),
        Contestant(
            "model-signing",
            "model_signing, digests of both copies",
            ("python", "-m", "benchmarks.signing_digests", *place.trees),
            lambda output, cwd: last_line(output, f"{models} of {models} equal, {place.shape.stored_files} digests"),
        ),
    ]


def _rclone(place: Place, root: str) -> list[Contestant]:
    roots, files = [f"{root}/{tree}" for tree in trees(place.shape)], place.shape.stored_files // 2
    return [
        Contestant(
            "rclone-download",
            "rclone check --download",
            ("rclone", "check", "--download", *roots),
            lambda output, cwd: matching_files(output, files),
        ),
        Contestant(
            "rclone-hash",
            "rclone check",
            ("rclone", "check", *roots),
            lambda output, cwd: matching_files(output, files),
        ),
    ]


def _floors(place: Place) -> list[Contestant]:
    find = f"find {' '.join(place.trees)} -type f -print0 | xargs -0"
    of_one = " of one" if len(place.trees) == 2 else ""
    counted = f"{place.stored_bytes} bytes in {place.shape.stored_files} files"

    def floor(mode: str, label: str) -> Contestant:
        command = ("python", "-m", "benchmarks.floor", mode, *place.trees)
        return Contestant(f"floor-{mode}", f"floor: {label}", command, lambda output, cwd: last_line(output, counted))

    return [
        Contestant("cat", "floor: cat", ("sh", "-c", f"{find} cat > /dev/null"), lambda output, cwd: silent(output)),
        floor("read", "read everything"),
        floor("sha256", f"read everything, sha256{of_one}"),
        floor("blake3", f"read everything, blake3{of_one}"),
        *([floor("compare", "compare in one pass"), floor("all", "the same, and sha256 of one")] if of_one else []),
        Contestant(
            "b3sum",
            "b3sum of everything",
            ("sh", "-c", f"{find} b3sum | wc -l"),
            lambda output, cwd: last_line(output.strip(), str(place.shape.stored_files)),
        ),
    ]


def _bare_http(place: Place, key: str, *digest: str) -> Contestant:
    one = ("one version",) if key == _BARE_START else ()
    counted = f"{place.stored_bytes} bytes in {place.shape.stored_files} files"
    return Contestant(
        "-".join((key, *digest)),
        ", ".join((f"floor: bare {'boto3' if place.store == 's3' else 'http.client'}, concurrent", *digest, *one)),
        ("python", "-m", "benchmarks.bare_http", place.store, place.artifacts_url, place.list_file, *digest),
        lambda output, cwd: last_line(output, counted),
        start=None if one else _BARE_START,
    )


def _bare_obstore(place: Place, key: str) -> Contestant:
    """Return a client that, like an audit, lists each model separately and digests what it reads."""
    one = ", one version" if key == _OBSTORE_START else ""
    counted = f"{place.stored_bytes} bytes in {place.shape.stored_files} files"
    return Contestant(
        key,
        f"floor: bare obstore, concurrent, sha256{one}",
        ("python", "-m", "benchmarks.bare_obstore", place.artifacts_url, place.list_file, "sha256"),
        lambda output, cwd: last_line(output, counted),
        start=None if one else _OBSTORE_START,
    )


def _registry_client(place: Place, key: str) -> Contestant:
    one = ", one version" if key.endswith("-start") else ""
    expected = f"{place.shape.versions} versions of "
    return Contestant(
        key,
        f"MLflow's client, the same questions{one}",
        ("python", "-m", "benchmarks.registry_client", place.tracking_uri),
        lambda output, cwd: last_line(output, expected),
        start=None if one else "registry-client-start",
    )


def _predecessor(place: Place, key: str) -> Contestant:
    one = key == _PREDECESSOR_START
    expected = f"{place.shape.versions} of {place.shape.versions} equal"
    return Contestant(
        key,
        "the predecessor, one version" if one else "the predecessor, in one process",
        ("python", "-m", "benchmarks.predecessor", place.tracking_uri, "scratch"),
        lambda output, cwd: last_line(output, expected),
        start=None if one else _PREDECESSOR_START,
    )
