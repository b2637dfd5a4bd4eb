"""Where explanations are asked for: it takes few at once, and makes its explainer when the first comes."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from perennial_bundle import Bundle, Flag, InvalidInput, Rows
from perennial_bundle.explaining import Explainer, Explanation, TooManyRows, build_explainer

from perennial_server.errors import ModelError, RequestError, TooBusy, TooLate, refuse_rows

RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation, and what the schema let through."""

    explanation: Explanation
    flags: tuple[Flag, ...]


class Desk:
    """Explains a bundle's answers; used on the event loop only.

    An explanation may ask the model about a hundred thousand rows: in one thread, so that it never takes more than one
    core from predictions, and with a bound on those that wait.

    Parameters
    ----------
    max_rows
        In one request.
    max_waiting
        Requests in hand or waiting; one more is refused.
    timeout_s
        For one request, from the moment when it came.
    """

    def __init__(self, bundle: Bundle, *, max_rows: int, max_waiting: int, timeout_s: float) -> None:
        self._bundle = bundle
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._waiting = 0
        self._explainer: Explainer | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explain")

    async def explain(self, rows: Rows, *, deadline_s: float | None = None) -> Explained:
        """Explain rows.

        Parameters
        ----------
        deadline_s
            When the client stops waiting, on the clock of `time.monotonic`; None for never.

        Raises
        ------
        RequestError
            Status 400: the rows break the schema, or are too many.
        TooBusy
            Enough are waiting.
        TooLate
            The deadline passed, or the time for one request.
        ModelError
            The model raised.
        """
        if rows.n > self._max_rows:
            raise RequestError(400, f"inputs: at most {self._max_rows} rows are explained at once")
        if self._waiting >= self._max_waiting:
            raise TooBusy(f"{self._waiting} requests for explanations are waiting; try again", RETRY_S)
        end_s = time.monotonic() + self._timeout_s
        end_s = end_s if deadline_s is None else min(end_s, deadline_s)
        self._waiting += 1
        # The thread goes on with what it has begun even if the client goes away: only then is the place free.
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._explain, rows, end_s)
        future.add_done_callback(self._leave)
        return await asyncio.shield(future)

    def _leave(self, _: object) -> None:
        self._waiting -= 1

    def _explain(self, rows: Rows, end_s: float) -> Explained:
        if time.monotonic() > end_s:
            raise TooLate
        try:
            checked = self._bundle.schema.check(rows)
            if self._explainer is None:
                self._explainer = build_explainer(self._bundle)
            return Explained(self._explainer.explain(checked.frame, deadline_s=end_s), checked.flags)
        except InvalidInput as error:
            raise refuse_rows(error) from error
        except TooManyRows as error:
            raise RequestError(400, f"inputs: {error}") from error
        except TimeoutError as error:
            raise TooLate from error
        except RequestError:
            raise
        except Exception as error:
            # A model is somebody else's code, and it is given rows mixed of others.
            raise ModelError(
                f"the model can't be explained: {type(error).__name__}: {str(error)[:500]}"
            ) from error

    def close(self) -> None:
        """Let the thread end after the work in hand, without waiting for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
