"""The report of a bundle's features: contribution, loss and declared cost."""

import json

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import InvalidBundle
from perennial_bundle.__main__ import main
from perennial_bundle.explaining import build_report, render_report
from sklearn.linear_model import LinearRegression, LogisticRegression


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), columns=["strong", "weak", "idle"])


def save(frame, path, costs, *, labels=True):
    y = (3 * frame.strong + frame.weak > 0).astype(int)
    return perennial_bundle.save(
        LogisticRegression().fit(frame, y),
        frame,
        path,
        y=y if labels else None,
        metadata={"feature_costs": costs} if costs is not None else {},
    )


def test_features_are_weighed_against_their_declared_cost(frame, tmp_path):
    report = build_report(save(frame, tmp_path / "b", {"strong": 100, "weak": 1, "idle": 50}))
    assert [feature.name for feature in report.features] == ["weak", "strong", "idle"]
    by_name = {feature.name: feature for feature in report.features}
    assert sum(feature.share_percent for feature in report.features) == pytest.approx(100)
    strong = by_name["strong"]
    assert strong.share_percent > by_name["weak"].share_percent > by_name["idle"].share_percent
    assert strong.share_per_cost == pytest.approx(strong.share_percent / 100)
    assert strong.loss > by_name["weak"].loss > by_name["idle"].loss - 0.05


def test_without_costs_features_are_in_the_order_of_their_share(frame, tmp_path):
    report = build_report(save(frame, tmp_path / "b", None))
    assert [feature.name for feature in report.features] == ["strong", "weak", "idle"]
    assert all(feature.cost is None and feature.share_per_cost is None for feature in report.features)


def test_without_labels_no_loss_is_claimed(frame, tmp_path):
    report = build_report(save(frame, tmp_path / "b", {}, labels=False))
    assert {feature.loss for feature in report.features} == {None}
    assert " - " in render_report(report)


def test_the_loss_of_a_regression_is_in_its_own_unit(frame, tmp_path):
    y = 10 * frame.strong
    bundle = perennial_bundle.save(LinearRegression().fit(frame, y), frame, tmp_path / "b", y=y)
    report = build_report(bundle)
    assert report.features[0].name == "strong"
    assert report.features[0].loss > 5
    assert abs(report.features[1].loss) < 1e-6


@pytest.mark.parametrize("costs", [{"other": 1}, {"weak": -1}, {"weak": "much"}, {"weak": True}, ["weak"]])
def test_costs_that_make_no_sense_are_refused(frame, tmp_path, costs):
    with pytest.raises(InvalidBundle, match="feature_costs"):
        build_report(save(frame, tmp_path / "b", costs))


def test_the_command_prints_a_table_or_json(frame, tmp_path, capsys):
    save(frame, tmp_path / "b", {"weak": 2})
    assert main(["report", str(tmp_path / "b")]) == 0
    table = capsys.readouterr().out
    assert "contributions to margin in 200 reference rows, by Linear" in table
    assert main(["report", "--json", str(tmp_path / "b")]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["method"] == "Linear"
    assert {feature["name"]: feature["cost"] for feature in got["features"]} == {
        "strong": None,
        "weak": 2,
        "idle": None,
    }
