"""Counts what came since the last look in one deployment's comparison. Reads the log, writes into its changes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection

from perennial_observer.comparisons import records
from perennial_observer.comparisons.agreement import compare_answers
from perennial_observer.comparisons.changes import DeploymentChanges
from perennial_observer.comparisons.judging import LabelRule
from perennial_observer.comparisons.records import Comparison, NewRow, NewShadow, Unit

__all__ = ["Counting", "FlagRows"]

UNITS_PER_LOOK = 10_000
# A mirrored answer whose live one hasn't been logged after so long has none.
PAIR_WAIT_S = 60.0

FlagRows = Callable[[str, Sequence[Mapping[str, Any]]], Sequence[bool] | None]


@dataclass
class Counting:
    """One look at one comparison.

    Parameters
    ----------
    comparison
        Its state, a copy that is counted up.
    begins
        It has just begun, so that nothing stored belongs to it.
    rule
        How labels are judged.
    changes
        What the look has changed so far.
    paired
        Ids of mirrored rows that have found their live ones.
    """

    connection: Connection
    deployment_id: int
    comparison: Comparison
    begins: bool
    rule: LabelRule
    changes: DeploymentChanges = field(init=False)
    paired: set[int] = field(default_factory=set)
    _clients: dict[tuple[str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = DeploymentChanges(self.comparison, self.begins)

    def count_requests(self, rows: Sequence[NewRow], flag: FlagRows | None) -> None:
        """Count live requests by their first rows, and keep each as a unit that may be labelled.

        Parameters
        ----------
        flag
            Tells which inputs of a revision are odd, or None if it can't now; None where nothing ever tells.
        """
        arms = self.comparison.arms
        mine = [row for row in rows if row.revision in arms]
        held = self._stored_units(row.prediction_id for row in mine)
        firsts: dict[str, NewRow] = {}
        for row in mine:
            arms[row.revision].rows += 1
            # Rows of a request that were sent later than its first ones belong to a request that is counted already.
            if row.prediction_id not in held:
                known = firsts.setdefault(row.prediction_id, row)
                if row.row < known.row:
                    firsts[row.prediction_id] = row
        flags = self._flag(firsts.values(), flag)
        self._learn_clients(row.client for row in firsts.values())
        for row in firsts.values():
            arms[row.revision].add_request(
                is_odd=flags.get(row.id), is_new_client=self._meet(row.revision, row.client)
            )
            self.changes.new_units[row.prediction_id] = Unit(
                row.prediction_id, row.revision, row.client, row.event_time, row.arrival
            )

    def _flag(self, rows: Collection[NewRow], flag: FlagRows | None) -> dict[int, bool]:
        if not rows or flag is None:
            return {}
        inputs = records.read_inputs(self.connection, [row.id for row in rows])
        flagged: dict[int, bool] = {}
        for revision in self.comparison.arms:
            found = [row.id for row in rows if row.revision == revision and row.id in inputs]
            flags = flag(revision, [inputs[row_id] for row_id in found]) if found else None
            if flags is not None:
                flagged |= zip(found, map(bool, flags), strict=True)
        return flagged

    def count_labels(self, labelled: AbstractSet[str]) -> None:
        """Count rewards of requests whose label has come, and of new ones whose label was there before them."""
        units = {**self._stored_units(labelled), **self.changes.new_units}
        for unit, is_wrong in self._judge([unit for unit in units.values() if not unit.rewarded]):
            if is_wrong is None:
                continue
            self._reward(unit, is_wrong=is_wrong)
            if self.rule.maturity_s is None:
                self._settle(unit, is_wrong=is_wrong)

    def settle(self, until: float) -> None:
        """Settle requests with event times up to `until`: their labels have come or are waited for no more."""
        units: dict[str, Unit] = {}
        if not self.begins:
            ripe = records.read_ripe_units(
                self.connection, self.deployment_id, until=until, limit=UNITS_PER_LOOK
            )
            units = {unit.prediction_id: unit for unit in ripe}
        units |= {key: unit for key, unit in self.changes.new_units.items() if unit.event_time <= until}
        due = [unit for key, unit in units.items() if key not in self.changes.settled]
        if self.rule.maturity_s is None:
            self.changes.settled |= {unit.prediction_id for unit in due}
            return
        for unit, is_wrong in self._judge(due):
            is_rewarded = unit.rewarded or unit.prediction_id in self.changes.rewarded
            if is_wrong is not None and not is_rewarded:
                self._reward(unit, is_wrong=is_wrong)
            self._settle(unit, is_wrong=is_wrong)

    def _judge(self, units: Sequence[Unit]) -> list[tuple[Unit, bool | None]]:
        """Judge units by their first labelled row; None without a label or a way to judge it."""
        found = records.read_labelled(
            self.connection, self.deployment_id, [unit.prediction_id for unit in units]
        )
        self._learn_clients(unit.client for unit in units if unit.prediction_id in found)
        result: list[tuple[Unit, bool | None]] = []
        for unit in units:
            row = found.get(unit.prediction_id)
            result.append((unit, None if row is None else self.rule.is_wrong(row.label, row.outputs)))
        return result

    def _reward(self, unit: Unit, *, is_wrong: bool) -> None:
        self.changes.rewarded.add(unit.prediction_id)
        if unit.revision in self.comparison.arms:
            self.comparison.arms[unit.revision].add_reward(float(not is_wrong))

    def _settle(self, unit: Unit, *, is_wrong: bool | None) -> None:
        self.changes.settled.add(unit.prediction_id)
        arm = self.comparison.arms.get(unit.revision)
        if arm is None:
            return
        if is_wrong is None:
            arm.labels_missing += 1
            return
        is_new = False
        if unit.client is not None:
            key = (unit.revision, unit.client)
            is_new = not self._clients.get(key, False)
            self._clients[key] = True
            self.changes.labelled_clients.add(key)
        arm.add_label(is_wrong=is_wrong, is_new_client=is_new)

    def count_shadows(self, shadows: Sequence[NewShadow]) -> None:
        """Count mirrored requests that are new, and pair those whose live answer is there."""
        requests: dict[tuple[str, str], list[NewShadow]] = {}
        for row in shadows:
            if row.revision in self.comparison.arms:
                requests.setdefault((row.revision, row.prediction_id), []).append(row)
        answers = records.read_answers(
            self.connection, self.deployment_id, [prediction_id for _, prediction_id in requests]
        )
        for (revision, prediction_id), rows in requests.items():
            arm = self.comparison.arms[revision]
            arm.shadow_requests += any(row.state == records.NEW for row in rows)
            live = answers.get(prediction_id)
            if live is None:
                continue
            mirrored = {row.row: orjson.loads(row.outputs) for row in rows}
            result = compare_answers(mirrored, live, is_regression=self.rule.is_regression)
            if result is not None:
                arm.add_pair(result)
            self.paired.update(row.id for row in rows)

    def _stored_units(self, ids: Iterable[str]) -> dict[str, Unit]:
        return {} if self.begins else records.read_units(self.connection, self.deployment_id, ids)

    def _learn_clients(self, clients: Iterable[str | None]) -> None:
        """Look up which clients have been seen before this look."""
        if self.begins:
            return
        asked = {client for client in clients if client is not None}
        found = records.read_clients(self.connection, self.deployment_id, asked)
        self._clients = {**found, **self._clients}

    def _meet(self, revision: str, client: str | None) -> bool:
        """Whether the client is new to the arm; it isn't afterwards."""
        if client is None or (revision, client) in self._clients:
            return False
        self._clients[revision, client] = False
        self.changes.new_clients.add((revision, client))
        return True
