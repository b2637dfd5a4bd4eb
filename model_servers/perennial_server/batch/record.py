"""What a job has done, beside its output: the plan, a marker for each part, and at the end a summary.

A part is done when its marker is there; the marker comes last. Its counts are in its name, so that going on needs one
listing. Names with an underscore are skipped by whoever reads the output as a data set.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from perennial_server.batch.errors import CannotResume
from perennial_server.batch.places import Place
from perennial_server.batch.plan import Plan, check_unchanged, read_plan
from perennial_server.batch.rendering import SUFFIXES, render_table
from perennial_server.batch.scoring import Scored

_MARKER = re.compile(r"^(?P<part>part-\d+-\d+-\d+)\.(?P<scored>\d+)\.(?P<rejected>\d+)\.(?P<flags>\d+)$")
_CONTROL, _REJECTS = "_perennial", "_rejects"


@dataclass(frozen=True)
class Counts:
    """Rows of parts that are done, and what was noticed about them."""

    scored: int = 0
    rejected: int = 0
    flags: int = 0

    @property
    def rows(self) -> int:
        """Rows read."""
        return self.scored + self.rejected

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.scored + other.scored, self.rejected + other.rejected, self.flags + other.flags)


class Record:
    """The output directory of a job."""

    def __init__(self, output: Place) -> None:
        self._output = output
        self._control = output.child(_CONTROL)
        self._done = self._control.child("done")

    def find_plan(self) -> Plan | None:
        """Return the plan with which the output was begun; None if it wasn't.

        Raises
        ------
        CannotResume
            There are other files in the directory, or the plan is damaged.
        """
        if not self._control.child("plan.json").exists():
            strangers = [name for name in self._output.names() if name != _CONTROL]
            if strangers:
                raise CannotResume(
                    f"{self._output.path} holds files that no job of ours wrote, such as {strangers[0]}; choose an "
                    "empty directory"
                )
            return None
        try:
            return read_plan(json.loads(self._control.child("plan.json").read()))
        except ValueError as error:
            raise CannotResume(
                f"the output's plan can't be read: {error}; choose another --output"
            ) from error

    def begin(self, plan: Plan) -> None:
        """Write down how the input is cut."""
        self._control.commit("plan.json", json.dumps(plan.to_document()).encode())

    def go_on(self, begun: Plan, wanted: Plan) -> dict[str, Counts]:
        """Return the parts that are done, after a look whether they are the wanted ones."""
        check_unchanged(begun, wanted)
        for place in (self._output, self._output.child(_REJECTS), self._done):
            place.clean()
        matches = (_MARKER.match(name) for name in self._done.names())
        return {
            match["part"]: Counts(int(match["scored"]), int(match["rejected"]), int(match["flags"]))
            for match in matches
            if match is not None
        }

    def commit(self, name: str, plan: Plan, scored: Scored) -> Counts:
        """Write a part: predictions, rejects, then the marker. Done again after a kill, it writes the same."""
        suffix = SUFFIXES[plan.output_format]
        self._output.commit(name + suffix, render_table(scored.table, plan.output_format, plan.csv_delimiter))
        if scored.rejects.num_rows:
            self._output.child(_REJECTS).commit(
                name + suffix, render_table(scored.rejects, plan.output_format, plan.csv_delimiter)
            )
        counts = Counts(scored.table.num_rows, scored.rejects.num_rows, len(scored.flags))
        self._done.commit(f"{name}.{counts.scored}.{counts.rejected}.{counts.flags}", b"")
        return counts

    def is_finished(self) -> bool:
        """Whether the summary is there."""
        return self._control.child("summary.json").exists()

    def finish(self, plan: Plan, counts: Counts, more: Mapping[str, Any]) -> None:
        """Write the summary: the output is whole."""
        document = {"bundle": plan.bundle_digest, "rows": plan.rows, **asdict(counts), **more}
        self._control.commit("summary.json", json.dumps(document).encode())
