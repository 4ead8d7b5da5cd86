"""Does what `model_signing` does before it signs: hash each model directory, both copies, on all cores.

python -m benchmarks.signing_digests LEFT RIGHT
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.skipping import skip


def main(roots: list[Path]) -> int:
    try:
        from model_signing.hashing import Config
    except ImportError as error:
        skip(f"the package model-signing cannot be imported: {error}")
    models = sorted(path.parent.relative_to(roots[0]) for path in roots[0].rglob("MLmodel"))

    def digests(model: Path) -> list[Any]:
        configuration: Any = Config  # it holds state, so each model has its own
        return [sorted(_digests(configuration().hash(root / model))) for root in roots]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(digests, models))
    equal = sum(one == two for one, two in found)
    print(f"{equal} of {len(models)} equal, {sum(len(side) for sides in found for side in sides)} digests")
    return 0


def _digests(manifest: Any) -> list[tuple[str, str]]:
    return [(str(entry.identifier), entry.digest.digest_hex) for entry in manifest.resource_descriptors()]


if __name__ == "__main__":
    sys.exit(main([Path(root) for root in sys.argv[1:]]))
