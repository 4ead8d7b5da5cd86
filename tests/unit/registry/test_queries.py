"""Names that MLflow refuses to be asked for are known before it is asked."""

from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_name

from registry_audit.registry.queries import is_refused_name


@given(st.text("./: a\\%", max_size=4))
@example("..staging")
@example("Wine.v1..")
def test_law_no_name_that_mlflow_refuses_is_asked_for(name: str) -> None:
    try:
        _validate_model_name(name)
    except MlflowException:
        assert is_refused_name(name)


def test_other_names_are_asked_for() -> None:
    assert not any(map(is_refused_name, ("Wine", "main.ml.wine", ".hidden", "a..b", "a.", "*", "-x", "a%2Fb", "a\\b")))
