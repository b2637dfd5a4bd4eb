"""The default trainer: the champion's own pipeline, fitted again on the weighted rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_training.data import TrainingData
from perennial_training.errors import TrainerFailed


def refit(data: TrainingData) -> Any:
    """Clone the champion's estimator, without what it has learned, and fit the clone.

    An estimator that takes no ``sample_weight`` is fitted on rows drawn with replacement in proportion to their
    weights (temporally biased sampling), which has the same expectation.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    TrainerFailed
        The estimator can't be fitted on these rows.
    """
    from sklearn.base import clone

    model = clone(data.champion.model)
    argument = weight_argument(model)
    unset = unset_random_states(model)
    model.set_params(**dict.fromkeys(unset, data.seed))
    try:
        if argument is not None:
            model.fit(data.x, data.y, **{argument: data.sample_weight})
        else:
            rows = _draw(data.sample_weight, data.seed)
            model.fit(data.x.iloc[rows], data.y[rows])
    except (ValueError, TypeError, ArithmeticError) as error:
        raise TrainerFailed(f"{type(model).__name__}.fit failed: {type(error).__name__}: {error}") from error
    # The seed belongs to this run; left in, every later refit would inherit it as if its author had chosen it.
    return model.set_params(**dict.fromkeys(unset))


def weight_argument(model: Any) -> str | None:
    """Name the keyword by which ``model.fit`` takes row weights; for a pipeline that of its last step.

    Returns
    -------
    str or None
        Such as ``sample_weight`` or ``classifier__sample_weight``; None where there is none.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    prefix = ""
    while isinstance(model, Pipeline):
        name, model = model.steps[-1]
        prefix += f"{name}__"
    return f"{prefix}sample_weight" if has_fit_parameter(model, "sample_weight") else None


def unset_random_states(model: Any) -> list[str]:
    """Parameters called ``random_state``, at any depth, that the estimator's author has left open."""
    return [
        name
        for name, value in model.get_params().items()
        if (name == "random_state" or name.endswith("__random_state")) and value is None
    ]


def _draw(weights: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(weights.size, size=weights.size, p=weights / weights.sum()))
