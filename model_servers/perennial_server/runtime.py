"""One server's parts, started and ended in order.

Start: fetch, verify, load, warm up; only then is anything served. End: the prediction threads, then the log.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from perennial_bundle import Bundle, ModelLoadFailed, Outputs

from perennial_server.adapting.declaration import Declaration
from perennial_server.adapting.remote import RemoteModel
from perennial_server.engine.model import Model
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import RequestError
from perennial_server.loading.errors import LoadTimeout
from perennial_server.loading.fetching import fetch_bundle
from perennial_server.loading.progress import Progress
from perennial_server.loading.sample import build_mixed_rows, build_rows, render_request
from perennial_server.metrics import Metrics
from perennial_server.observer_client import ObserverClient
from perennial_server.outliers import learn_outliers
from perennial_server.prediction_log.log import build_log
from perennial_server.prediction_log.reference import post_reference
from perennial_server.rest.app import V2App
from perennial_server.settings import Settings

if TYPE_CHECKING:
    from perennial_bundle.oddness import Rate

logger = logging.getLogger(__name__)

WARM_UP_ROWS = 64
# Rows near a class boundary may flip between machines; more than that is another model.
MAX_DIFFERENT_SHARE = 0.05


class Runtime:
    """A server that is ready. Made by `start_runtime`."""

    def __init__(
        self,
        predictor: Predictor,
        sample: bytes | None,
        stack: AsyncExitStack,
        remote: RemoteModel | None = None,
    ) -> None:
        self.predictor = predictor
        self.sample = sample
        self.v2 = V2App(predictor, remote)
        self._stack = stack

    async def close(self) -> None:
        """End the threads, then send what is logged for at most ``flush_timeout_s``."""
        self.predictor.close()
        self.v2.close()
        await self._stack.aclose()


async def start_runtime(settings: Settings, progress: Progress | None = None) -> Runtime:
    """Start everything behind the HTTP port.

    Raises
    ------
    BundleError, StartupError
        The server can't start; the reason says why.
    """
    start_s = time.monotonic()
    rng = random.Random()  # noqa: S311  jitter
    async with AsyncExitStack() as stack:
        client = None
        if settings.observer_url is not None:
            client = await stack.enter_async_context(ObserverClient(settings, rng))
        progress = progress or Progress()
        bundle: Bundle | None = None
        remote: RemoteModel | None = None
        model: Model
        if settings.adapter is None:
            model = bundle = await _open_bundle(settings, stack, progress)
        else:
            model = remote = await _open_remote(settings, settings.adapter, stack, progress)
            # A call that waits for another process would hold up the event loop, however short it was so far.
            settings = settings.model_copy(update={"inline_below_s": 0.0})
        metrics = Metrics()
        log = build_log(settings, model.schema, metrics, client, rng)
        if log is not None:
            stack.push_async_callback(log.close, settings.flush_timeout_s)
        rate = await learn_in_time(bundle, settings)
        predictor = Predictor(model, settings, metrics, log, rate=rate)
        sample = None
        if bundle is not None:
            sample = await rehearse(predictor, bundle)
            if client is not None and settings.log_mode != "None":
                await stack.enter_async_context(_run(post_reference(bundle, client, settings), "reference"))
        logger.info(
            "ready deployment=%s revision=%s model=%s start_s=%.2f",
            settings.deployment,
            settings.revision,
            settings.bundle_uri if bundle is None else bundle.digest,
            time.monotonic() - start_s,
        )
        return Runtime(predictor, sample, stack.pop_all(), remote)


async def _open_bundle(settings: Settings, stack: AsyncExitStack, progress: Progress) -> Bundle:
    """Fetch the bundle, load it and warm it up."""
    directory = settings.work_dir
    if directory is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perennial-")))
    start_s = time.monotonic()
    bundle = await fetch_bundle(settings, directory, progress)
    fetched_s = time.monotonic()
    progress.enter("Loading")
    try:
        async with asyncio.timeout(settings.load_timeout_s):
            await asyncio.to_thread(warm_up, bundle)
    except TimeoutError:
        raise LoadTimeout(f"the model wasn't loaded after {settings.load_timeout_s:g} s") from None
    load_s = time.monotonic() - fetched_s
    logger.info("loaded bundle=%s fetch_s=%.2f load_s=%.2f", bundle.digest, fetched_s - start_s, load_s)
    return bundle


async def learn_in_time(bundle: Bundle | None, settings: Settings) -> Rate | None:
    """Learn what is odd by the bundle's reference, if anybody asks.

    Raises
    ------
    InvalidBundle
        See `learn_outliers`.
    LoadTimeout
        It took longer than loading may.
    """
    try:
        async with asyncio.timeout(settings.load_timeout_s):
            return await asyncio.to_thread(learn_outliers, bundle, settings)
    except TimeoutError:
        raise LoadTimeout(
            f"the reference sample wasn't learnt for server.outlierScores after {settings.load_timeout_s:g} s: remove "
            "server.outlierScores, or exclude columns by logger.exclude"
        ) from None


async def _open_remote(
    settings: Settings, declaration: Declaration, stack: AsyncExitStack, progress: Progress
) -> RemoteModel:
    """Wait for the model in the image beside this one, and keep an eye on it from then on."""
    remote = await stack.enter_async_context(RemoteModel(declaration))
    progress.enter("Loading")
    try:
        async with asyncio.timeout(settings.load_timeout_s):
            await remote.wait_until_up()
    except TimeoutError:
        asked = declaration.ready_path or "its port"
        raise LoadTimeout(
            f"the model's own server wasn't ready after {settings.load_timeout_s:g} s: {asked} on port "
            f"{declaration.port} of its image has to answer; see the log of the container model, and spec.adapter of "
            "its runtime"
        ) from None
    await stack.enter_async_context(_run(remote.watch(), "watch"))
    return remote


@asynccontextmanager
async def _run(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Do something beside serving, and end it with the server."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def warm_up(bundle: Bundle) -> None:
    """Load the model and predict reference rows, so that the first request is as fast as the next.

    Raises
    ------
    UnsafeModel, ModelLoadFailed, InvalidBundle
        The model doesn't load, can't predict its own reference, or answers otherwise than when it was saved.
    """
    _ = bundle.scorer
    reference = bundle.reference()
    frame = reference.inputs.iloc[:WARM_UP_ROWS]
    try:
        got = bundle.predict(frame)
    except Exception as error:
        raise ModelLoadFailed(
            f"the model can't predict its own reference rows: {type(error).__name__}: {error}"
        ) from error
    for name, share in compare_outputs(reference.outputs, got).items():
        if share > MAX_DIFFERENT_SHARE:
            raise ModelLoadFailed(
                f"{name} differs from what was saved in {share:.0%} of the reference rows; "
                f"use the libraries it was saved with: {bundle.manifest.libraries}"
            )


async def rehearse(predictor: Predictor, bundle: Bundle) -> bytes | None:
    """Answer requests made of the reference sample on the whole road of a request; return one to hand out.

    None if the model refuses rows mixed of several: some models check one column against another.

    Raises
    ------
    ModelLoadFailed
        The model's own reference rows are refused.
    """
    settings = predictor.settings
    rows = await asyncio.to_thread(build_rows, bundle, min(WARM_UP_ROWS, settings.max_rows))
    try:
        await predictor.rehearse(render_request(bundle, rows))
    except RequestError as error:
        raise ModelLoadFailed(
            f"the server can't answer the model's own reference rows: {error.message}"
        ) from error
    sample = render_request(bundle, build_mixed_rows(bundle, 1, settings.log_exclude))
    try:
        await predictor.rehearse(sample)
    except RequestError as error:
        logger.warning("no sample is handed out, since the model refuses mixed rows error=%s", error.message)
        return None
    return sample


def compare_outputs(want: Outputs, got: Outputs) -> dict[str, float]:
    """Compare outputs with the first rows of those wanted: the share of rows that differ, by output."""
    shares = {}
    for name in want.keys() & got.keys():
        expected = want[name][: len(got[name])]
        if got[name].dtype.kind == "f":
            close = np.isclose(expected.astype(np.float64), got[name], rtol=1e-3, atol=1e-6, equal_nan=True)
            same = np.asarray(close.reshape(len(close), -1).all(axis=1))
        else:
            same = np.asarray(expected == got[name])
        shares[name] = float(1 - same.mean())
    return shares
