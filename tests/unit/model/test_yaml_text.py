"""A small YAML file of a stranger is read whole, or not at all."""

from pathlib import Path

import pytest

from registry_audit.model.yaml_text import UnreadableYaml, read_yaml_file


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """What stands in its beginning may be another mapping than the one that MLflow reads."""
    file, end = tmp_path / "meta.yaml", "source: b\n"
    beginning = "source: a\n# "
    file.write_text(beginning + "x" * ((1 << 20) - len(beginning) - 1) + "\n" + end)
    with pytest.raises(UnreadableYaml, match="is larger than 1 MiB"):
        read_yaml_file(file)
    file.write_text("source: a\n")
    assert read_yaml_file(file) == {"source": "a"}
