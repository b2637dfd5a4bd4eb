"""Good and bad objects of every kind: the models and the real API server must agree on each of them.

`tests/contract/crds` holds the models to this table, `tests/e2e/test_api_agreement.py` the API server.
"""

from tests.contract.crds.adapter_specs import BAD_ADAPTERS, GOOD_ADAPTERS
from tests.contract.crds.deployment_specs import BAD_DEPLOYMENTS, GOOD_DEPLOYMENTS
from tests.contract.crds.experiment_specs import BAD_EXPERIMENTS, GOOD_EXPERIMENTS
from tests.contract.crds.other_specs import BAD_OTHERS, GOOD_OTHERS, REPORT, REVISION, ROUTE, RUN, RUNTIME
from tests.contract.crds.rollout_specs import BAD_ROLLOUTS, GOOD_ROLLOUTS
from tests.contract.crds.table import MINIMAL, Case

__all__ = ["BAD", "GOOD", "MINIMAL", "REPORT", "REVISION", "ROUTE", "RUN", "RUNTIME", "Case"]

GOOD = (*GOOD_DEPLOYMENTS, *GOOD_ROLLOUTS, *GOOD_EXPERIMENTS, *GOOD_OTHERS, *GOOD_ADAPTERS)
BAD = (*BAD_DEPLOYMENTS, *BAD_ROLLOUTS, *BAD_EXPERIMENTS, *BAD_OTHERS, *BAD_ADAPTERS)
