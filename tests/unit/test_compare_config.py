import pytest

from registry_audit.compare_config import parse_compare_config
from registry_audit.errors import UsageError

GOOD = """\
tracking_server_1:
  host: http://alice:s3cret@a:5000
  model: Wine
  version_or_stage: 010
tracking_server_02:
  host: databricks://prod
  model: Wine_Imported
  version_or_stage: "@champion"
  native_model: model.pkl
"""


def test_both_spellings_of_the_servers_and_texts_as_written() -> None:
    config = parse_compare_config(GOOD, "c.yaml")
    one, two = config.servers
    assert (one.version_or_stage, two.version_or_stage) == ("010", "@champion")
    assert (one.native_model, two.native_model) == (None, "model.pkl")


def test_a_quoted_text_is_that_text() -> None:
    """A model may be called so."""
    for model in ("null", " Wine"):
        config = parse_compare_config(GOOD.replace("model: Wine\n", f'model: "{model}"\n'), "c.yaml")
        assert config.tracking_server_1.model == model


def test_a_secret_in_it_is_never_shown() -> None:
    config = parse_compare_config(GOOD, "c.yaml")
    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config.reported())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("tracking_server_02", "tracking_server_01"), "'tracking_server_01' is given twice, on lines 1 and 5"),
        (("tracking_server_02", "tracking_server_1"), "'tracking_server_1' is given twice, on lines 1 and 5"),
        (("  model: Wine\n", "  model: Wine\n  model: W\n"), "'model' is given twice, on lines 3 and 4"),
        (("native_model", "natve_model"), "line 9: unknown key 'natve_model'"),
        (("tracking_server_02", "server"), "line 5: unknown key 'server'"),
        (("  model: Wine\n", ""), "line 1: tracking_server_1 has no model"),
        (("host: databricks://prod", "host: [a]"), "line 6: host needs a text"),
        (("host: databricks://prod", "host:"), "line 6: host needs a text"),
        (("native_model: model.pkl", "registry_uri: null"), "line 9: registry_uri is null, which is YAML for nothing"),
        (("native_model: model.pkl", "registry_name: ~"), "line 9: registry_name is ~, which is YAML for nothing"),
        (("version_or_stage: 010", "version_or_stage: newest"), "'newest' is not a version"),
        (("model: Wine\n", "model: Wine\n  password_env: P\n"), "needs both of username_env and password_env"),
        (("tracking_server_02:", "tracking_server_02: {"), "not YAML"),
    ],
)
def test_every_mistake_is_named_with_its_line(change: tuple[str, str], message: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(UsageError) as refused:
        parse_compare_config(GOOD.replace(*change, 1), "c.yaml")
    assert message in str(refused.value)
    assert "c.yaml" in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "x", "a: &a [*a]"])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_compare_config(text, "c.yaml")
