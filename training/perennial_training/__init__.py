"""What runs inside retraining Jobs, and the library users import in their own trainer.

A trainer of one's own is two lines::

    import perennial_training

    perennial_training.run(lambda data: make_model().fit(data.x, data.y, sample_weight=data.sample_weight))

``run`` reads what to do from the Job's environment, hands the weighted training slice to the function, compares what
comes back with the champion on newer rows, and reports the verdict to the operator.
"""

from perennial_training.data import TrainingData
from perennial_training.result import Result
from perennial_training.run import run
from perennial_training.weights import AgeWeights, effective_sample_size, inverse_age_weights

__all__ = ["AgeWeights", "Result", "TrainingData", "effective_sample_size", "inverse_age_weights", "run"]
