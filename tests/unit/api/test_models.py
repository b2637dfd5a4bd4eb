import pytest
from perennial_api import ModelDeployment, MonitorReport, RetrainingRun
from perennial_api.conditions import Condition
from perennial_api.durations import Duration
from perennial_api.modeldeployment.model import ModelSource
from perennial_api.modeldeployment.monitoring import Alarm, Monitor, Monitoring, PerformanceMetric, Window
from perennial_api.retrainingrun import RetrainingPhase, RetrainingResult
from perennial_api.types import LONGEST_MESSAGE
from pydantic import ValidationError

DIGEST = "9f2c" * 16
STORED = {
    "apiVersion": "perennial.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {
        "name": "wine",
        "namespace": "shop",
        "uid": "u-1",
        "generation": 3,
        "resourceVersion": "77",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {"model": {"uri": f"perennial://sha256:{DIGEST}"}},
    "status": {"observedGeneration": 2, "fieldOfANewerOperator": 1},
}


def test_object_as_the_api_server_stores_it_is_read():
    got = ModelDeployment.model_validate(STORED)
    assert (got.metadata.uid, got.metadata.generation, got.status.observed_generation) == ("u-1", 3, 2)
    assert got.spec.rollout.analysis.interval.seconds == 15


def test_object_of_another_kind_is_refused():
    with pytest.raises(ValidationError, match="ModelDeployment"):
        ModelDeployment.model_validate(STORED | {"kind": "MonitorReport"})


def test_a_read_object_cannot_be_changed():
    got = ModelDeployment.model_validate(STORED)
    with pytest.raises(ValidationError, match="frozen"):
        got.spec.server.min_replicas = 5


def test_metadata_that_was_not_given_is_not_written():
    report = MonitorReport.model_validate({"metadata": {"name": "wine"}})
    assert report.to_api()["metadata"] == {"name": "wine"}


def test_message_too_long_for_a_status_is_cut():
    got = Condition(
        type="Ready",
        status="False",
        reason="Broken",
        message="x" * 5000,
        last_transition_time="2026-01-02T03:04:05Z",
    )
    assert len(got.message) == LONGEST_MESSAGE
    assert got.message.endswith("…")


@pytest.mark.parametrize(
    "source", [{"uri": f"perennial://sha256:{DIGEST}"}, {"uri": "pvc://models/wine", "sha256": DIGEST}]
)
def test_digest_is_known_whatever_the_scheme(source):
    assert ModelSource.model_validate(source).digest == f"sha256:{DIGEST}"


def test_monitor_takes_defaults_only_for_what_it_leaves_out():
    alarm = Alarm(breaches=1, of=1)
    monitoring = Monitoring(monitors=(Monitor(name="drift", type="Drift", alarm=alarm),))
    got = monitoring.settings_for(monitoring.monitors[0])
    assert (got.alarm, got.window, got.false_alarm_every) == (alarm, Window(), Duration("30d"))


def test_losses_are_told_from_scores():
    losses = {metric for metric in PerformanceMetric if not metric.larger_is_better}
    assert losses == {"log_loss", "mae", "rmse"}


def test_result_is_read_as_the_trainer_writes_it_and_written_as_the_api_server_wants_it():
    text = (
        '{"verdict": "Accepted", "reason": "ChallengerNoWorse", "champion_score": 0.66, "train_rows": 90000}'
    )
    got = RetrainingResult.model_validate_json(text).to_api()
    want = {
        "verdict": "Accepted",
        "reason": "ChallengerNoWorse",
        "message": "",
        "championScore": 0.66,
        "trainRows": 90000,
    }
    assert got == want


@pytest.mark.parametrize("phase", RetrainingPhase)
def test_only_a_run_that_ended_is_final(phase):
    assert phase.is_final == (phase in {"Accepted", "Refused", "Failed"})


def test_run_without_status_is_pending():
    run = RetrainingRun.model_validate(
        {
            "metadata": {"name": "r"},
            "spec": {
                "deployment": "wine",
                "deploymentUid": "u-1",
                "trigger": {"monitor": "auc", "breachId": "auc-1"},
                "championRevision": "wine-1",
                "championUri": f"perennial://sha256:{DIGEST}",
                "trainer": "refit",
            },
        }
    )
    assert run.status.phase is RetrainingPhase.PENDING
