"""The models agree with the table of good and bad objects."""

import pytest
from perennial_api.base import Model, Rule
from pydantic import ValidationError

from tests.contract.crds.specs import BAD, GOOD, Case


def _name(case: Case) -> str:
    return f"{case.kind}: {case.name}"


def _all_rules(root: type[Model] = Model) -> set[Rule]:
    return {rule for child in root.__subclasses__() for rule in (*child.rules, *_all_rules(child))}


@pytest.mark.parametrize("case", GOOD, ids=_name)
def test_good_object_is_accepted(case):
    case.model.model_validate(case.body)


@pytest.mark.parametrize("case", GOOD, ids=_name)
def test_what_is_written_back_is_read_again(case):
    want = case.model.model_validate(case.body)
    got = case.model.model_validate(want.to_api())
    assert got == want


@pytest.mark.parametrize("case", BAD, ids=_name)
def test_bad_object_is_refused_with_what_to_change(case):
    with pytest.raises(ValidationError) as refused:
        case.model.model_validate(case.body)
    assert case.says in str(refused.value)


@pytest.mark.parametrize("rule", [rule for rule in _all_rules() if rule.holds], ids=lambda rule: rule.message)
def test_every_rule_is_broken_by_a_bad_object(rule):
    assert any(case.says and case.says in rule.message for case in BAD)


def test_names_in_the_table_are_told_apart():
    names = [_name(case) for case in (*GOOD, *BAD)]
    assert len(set(names)) == len(names)
