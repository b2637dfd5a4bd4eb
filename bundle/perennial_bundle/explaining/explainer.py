"""Choose how a bundle's answers are explained."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.bundle import Bundle
from perennial_bundle.explaining.exact import LinearExplainer, TreeExplainer, build_exact
from perennial_bundle.explaining.permutation import MAX_MODEL_ROWS, PermutationExplainer
from perennial_bundle.explaining.result import Explained, Explainer, Explanation
from perennial_bundle.formats.combining import spread_classes

logger = logging.getLogger(__name__)

MAX_BACKGROUND_ROWS = 256


def build_explainer(bundle: Bundle, *, max_model_rows: int = MAX_MODEL_ROWS) -> Explainer:
    """Build what explains a bundle's answers; takes seconds where shap is needed.

    Parameters
    ----------
    max_model_rows
        Rows that the model may be asked about for one explanation.
    """
    background = _choose_background(bundle)
    classes = bundle.manifest.classes
    exact = None
    if bundle.scorer.model is not None:
        try:
            exact = build_exact(bundle.scorer.model, background, classes)
        except Exception as error:  # noqa: BLE001  shap knows some versions of some models; sampling knows all
            logger.info("no exact explanation error=%r", error)
    explained = _explained(bundle)
    sampled = PermutationExplainer(
        _Answer(bundle, explained), background, classes, explained, max_model_rows=max_model_rows
    )
    return _Chosen(bundle.schema.feature_names, exact, sampled)


class _Chosen:
    """The exact explainer where its parts add up to the answer, else the sampling one."""

    def __init__(
        self,
        features: tuple[str, ...],
        exact: LinearExplainer | TreeExplainer | None,
        sampled: PermutationExplainer,
    ) -> None:
        self._features = list(features)
        self._exact = exact
        self._sampled = sampled

    def explain(self, frame: pd.DataFrame, *, deadline_s: float | None = None) -> Explanation:
        """Explain rows; see `Explainer.explain`."""
        features = frame.loc[:, self._features].reset_index(drop=True)
        if self._exact is not None:
            try:
                found = self._exact.explain(features)
            except Exception as error:  # noqa: BLE001  as above: a missing value that trees can't take, say
                logger.info("no exact explanation error=%r", error)
                found = None
            if found is not None:
                return found
        return self._sampled.explain(features, deadline_s=deadline_s)


class _Answer:
    """A bundle's answer as numbers: (n, 1) of a regression or of the second of two classes, else (n, n_classes)."""

    def __init__(self, bundle: Bundle, explained: Explained) -> None:
        self._bundle = bundle
        self._explained = explained

    def __call__(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        outputs = self._bundle.predict(features)
        classes = self._bundle.manifest.classes
        if classes is None:
            return np.asarray(outputs["predict"], dtype=np.float64)[:, np.newaxis]
        spread = spread_classes(outputs, classes)
        return spread[:, 1:] if len(classes) == 2 else spread  # noqa: PLR2004


def _explained(bundle: Bundle) -> Explained:
    if bundle.manifest.classes is None:
        return "predict"
    names = {column.name for column in bundle.schema.outputs}
    return "probability" if "probability" in names else "vote"


def _choose_background(bundle: Bundle) -> pd.DataFrame:
    features = bundle.reference().inputs.loc[:, list(bundle.schema.feature_names)]
    chosen = np.unique(np.linspace(0, len(features) - 1, MAX_BACKGROUND_ROWS).astype(int))
    return features.iloc[chosen].reset_index(drop=True)
