"""One retraining run, from the Job's environment to the verdict in its termination message."""

import hashlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
from pydantic import ValidationError
from pydantic_settings import SettingsError

from perennial_training.client import ObserverClient
from perennial_training.data import Rows, TrainingData
from perennial_training.errors import BundleUnusable, InvalidRun, TrainerFailed, TrainingError
from perennial_training.evaluate import Comparison
from perennial_training.judging import judge, metric_for
from perennial_training.policies import as_trained_on, inherited
from perennial_training.preparing import Gathered, Refusal, assess_rows, gather
from perennial_training.reference import thinning_step
from perennial_training.result import Failure, Figures, Result, write_termination_log
from perennial_training.settings import TrainerSettings
from perennial_training.spec import RunSpec
from perennial_training.weights import AgeWeights, inverse_age_weights

Trainer = Callable[[TrainingData], Any]


def run(train: Trainer) -> Result:
    """Do the run that the environment describes, with ``train`` making the candidate, and report the verdict.

    Parameters
    ----------
    train : callable
        Gets `TrainingData`, returns a fitted scikit-learn estimator made of parts that a bundle may hold.

    Returns
    -------
    Result
        Accepted or Refused; also written to the termination log.

    Raises
    ------
    SystemExit
        With status 1 when there is no verdict; the reason is in the termination log.
    """
    log_path = Path(os.environ.get("PERENNIAL_TERMINATION_LOG", "/dev/termination-log"))
    try:
        settings = _read_settings()
        with httpx.Client(
            base_url=settings.observer_url,
            timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
        ) as http:
            client = ObserverClient(
                http,
                settings.token_file,
                attempts=settings.attempts,
                max_download_bytes=settings.max_download_bytes,
            )
            result = retrain(settings.run, client, train)
    except TrainingError as error:
        _fail(log_path, Failure(reason=error.reason, message=error.message))
    except Exception as error:  # noqa: BLE001  the process's top: the operator must learn of every end
        traceback.print_exc()
        _fail(log_path, Failure(reason="InternalError", message=f"{type(error).__name__}: {error}"))
    write_termination_log(log_path, result)
    say("done", verdict=result.verdict, reason=result.reason, candidate=result.candidate_uri)
    return result


def retrain(spec: RunSpec, client: ObserverClient, train: Trainer) -> Result:
    """Gather, check, train, judge and, if accepted, push.

    Raises
    ------
    TrainingError
        There is no verdict.
    """
    with tempfile.TemporaryDirectory(prefix="perennial-run-") as scratch:
        champion = _fetch_champion(spec, client, Path(scratch) / "champion")
        metric = metric_for(spec.metric, champion)
        gathered = gather(spec, client, champion)
        if gathered is None:
            return _refuse(spec, Refusal("TooFewLabels", "the prediction log is empty"), Figures())
        weights = _weigh(spec, gathered)
        figures = gathered.figures(weights)
        say("gathered", **figures.model_dump(exclude_none=True))
        if refusal := assess_rows(gathered, weights, spec, champion.manifest.task):
            return _refuse(spec, refusal, figures)
        assert weights is not None
        seed = seed_of(spec.run)
        model = _train(train, _training_data(gathered.train, weights, champion, seed))
        candidate = _save(model, gathered, champion, spec, Path(scratch) / "candidate")
        say("trained", candidate=candidate.digest)
        comparison = judge(metric, champion, candidate, gathered.test, seed)
        figures = figures.model_copy(
            update={
                "champion_score": comparison.champion_score,
                "challenger_score": comparison.challenger_score,
                "difference_lower": comparison.difference_lower,
            }
        )
        sentence = _sentence(spec, comparison)
        say("judged", result=repr(sentence))
        if not comparison.accepted:
            return _refuse(spec, Refusal("ChallengerWorse", sentence), figures)
        archive = io.BytesIO()
        digest = perennial_bundle.pack(candidate.path, archive)
        client.push(digest, archive.getvalue())
        return Result(
            verdict="Accepted",
            reason="ChallengerNoWorse",
            message=sentence,
            candidate_uri=f"perennial://{digest}",
            metric=spec.metric,
            **figures.model_dump(),
        )


def say(step: str, **figures: Any) -> None:
    """Tell a person who reads the Job's log how far it is, one line per step."""
    print(f"step={step}", *(f"{name}={value}" for name, value in figures.items()), flush=True)


def _read_settings() -> TrainerSettings:
    try:
        return TrainerSettings()
    except SettingsError as error:
        raise InvalidRun(f"the environment can't be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable, *path = (str(part) for part in first["loc"])
        where = ".".join([f"PERENNIAL_{variable.upper()}", *path])
        raise InvalidRun(f"{where}: {first['msg']}") from error


def _fail(log_path: Path, failure: Failure) -> NoReturn:
    print(f"step=failed reason={failure.reason} message={failure.message}", file=sys.stderr, flush=True)
    write_termination_log(log_path, failure)
    raise SystemExit(1)


def _fetch_champion(spec: RunSpec, client: ObserverClient, directory: Path) -> perennial_bundle.Bundle:
    digest = spec.champion.uri.removeprefix("perennial://")
    try:
        perennial_bundle.unpack(io.BytesIO(client.blob(digest)), directory, expected_digest=digest)
        champion = perennial_bundle.load(directory)
        _ = champion.model
    except perennial_bundle.BundleError as error:
        raise BundleUnusable(f"the champion {spec.champion.uri}: {error.reason}: {error}") from error
    say("champion", revision=spec.champion.revision, digest=digest)
    return champion


def _train(train: Trainer, data: TrainingData) -> Any:
    try:
        return train(data)
    except TrainingError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise TrainerFailed(f"the training function raised {type(error).__name__}: {error}") from error


def _weigh(spec: RunSpec, gathered: Gathered) -> AgeWeights | None:
    return inverse_age_weights(
        gathered.train.event_time,
        now_s=gathered.split.train_until_s,
        tau_s=spec.data.weights.tau_s,
        min_effective_samples=spec.data.weights.min_effective_samples,
    )


def _training_data(
    rows: Rows, weights: AgeWeights, champion: perennial_bundle.Bundle, seed: int
) -> TrainingData:
    return TrainingData(
        x=as_trained_on(champion.schema, rows.frame).loc[:, list(champion.schema.feature_names)],
        y=rows.labels,
        sample_weight=weights.weights,
        event_time=rows.event_time,
        champion=champion,
        seed=seed,
    )


def _save(
    model: Any, gathered: Gathered, champion: perennial_bundle.Bundle, spec: RunSpec, directory: Path
) -> perennial_bundle.Bundle:
    """Write the candidate; its reference comes from the rows it was trained and tested on, in time order."""
    schema = champion.schema
    event_time = np.concatenate([gathered.train.event_time, gathered.test.event_time])
    step = thinning_step(champion.reference().event_time, event_time)
    frame = pd.concat([gathered.train.frame, gathered.test.frame], ignore_index=True)[::step]
    try:
        return perennial_bundle.save(
            model,
            frame,
            directory,
            y=np.concatenate([gathered.train.labels, gathered.test.labels])[::step],
            event_time=schema.event_time.name if schema.event_time is not None else None,
            name=champion.manifest.name,
            task=champion.manifest.task,
            passthrough=[c.name for c in schema.inputs if c.role == "Passthrough" and c.name in frame],
            metadata={**champion.manifest.metadata, "retraining_run": spec.run, "parent": champion.digest},
            policies=inherited(schema, frame),
        )
    except perennial_bundle.BundleError as error:
        raise TrainerFailed(f"the candidate can't be bundled: {error.reason}: {error}") from error


def _refuse(spec: RunSpec, refusal: Refusal, figures: Figures) -> Result:
    return Result(
        verdict="Refused",
        reason=refusal.reason,
        message=refusal.message,
        metric=spec.metric,
        **figures.model_dump(),
    )


def _sentence(spec: RunSpec, comparison: Comparison) -> str:
    lower = comparison.difference_lower
    sure = "" if lower is None else f" (with 95 % confidence at least {lower:+.4f})"
    return (
        f"{spec.metric}: candidate {comparison.challenger_score:.4f}, champion {comparison.champion_score:.4f}, "
        f"improvement {comparison.difference:+.4f}{sure}"
    )


def seed_of(run_name: str) -> int:
    """Turn a run's name into a seed of 32 bits."""
    return int.from_bytes(hashlib.sha256(run_name.encode()).digest()[:4], "big")
