"""Makes the models of the demo registry, which are tiny, real and of several flavors.

MLflow is imported on first use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModel

SPAM_FILTER_CODE = '''"""A model logged as code: MLflow keeps this file, not a pickle."""

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class SpamFilter(PythonModel):
    def predict(self, context, model_input: list[str]) -> list[str]:
        return ["spam" if "prize" in text.lower() else "ham" for text in model_input]


set_model(SpamFilter())
'''


def regression(seed: int) -> Any:
    """Train a linear model of four features. Another seed gives other coefficients, but the same size on disk."""
    import numpy as np
    from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]

    generator = np.random.default_rng(seed)
    return LinearRegression().fit(generator.normal(size=(16, 4)), generator.normal(size=16))


def classification(seed: int) -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    features = generator.normal(size=(16, 3))
    return LogisticRegression().fit(features, features[:, 0] > 0)


def neighbours(seed: int) -> Any:
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]

    generator = np.random.default_rng(seed)
    return KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(generator.normal(size=(8, 2)), range(8))


def fraud_detector() -> PythonModel:
    from mlflow.pyfunc.model import PythonModel

    # A class inside a function is pickled with its code, like a class from a notebook.
    class FraudDetector(PythonModel):
        def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:
            return ["fraud" if "lottery" in merchant else "ok" for merchant in model_input]

    return FraudDetector()


def write_fraud_tables(directory: Path) -> Path:
    """Write nested directories, such as models use for their vocabularies and lookup tables."""
    tables = directory / "tables"
    (tables / "lookup" / "eu").mkdir(parents=True)
    (tables / "thresholds.json").write_text('{"amount_eur": 900, "per_day": 4}\n', encoding="utf-8")
    (tables / "lookup" / "eu" / "merchants.csv").write_text(
        "merchant,risk\nbakery,0.01\nlottery,0.93\ntravel,0.12\n", encoding="utf-8"
    )
    return tables
