"""The BentoML service around a bundle: BentoML's API and docs page, with the v2 protocol mounted in it.

``perennial-server`` builds it on the first request outside of ``/v2``, since BentoML's import would double the
start-up; ``bentoml serve perennial_server.service:PerennialModel`` runs it under BentoML's own server.
"""

from typing import Any

import bentoml
import orjson
from bentoml.exceptions import BentoMLException, InvalidArgument, ServiceUnavailable
from perennial_bundle import Rows

from perennial_server.engine.predictor import Predictor
from perennial_server.errors import ModelError, RequestError
from perennial_server.origin import read_origin
from perennial_server.outliers import describe_outliers
from perennial_server.rest.asgi import Receive, Scope, Send
from perennial_server.runtime import Runtime, start_runtime
from perennial_server.settings import Settings


class MountedV2:
    """The v2 application, whose runtime may start after it is mounted."""

    def __init__(self, runtime: Runtime | None) -> None:
        self.runtime = runtime
        self.owns_runtime = runtime is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        assert self.runtime is not None
        await self.runtime.v2(scope, receive, send)


def build_service(runtime: Runtime | None = None) -> Any:
    """Build the service, around a running runtime, or around one that BentoML starts and ends."""
    mounted = MountedV2(runtime)

    @bentoml.service(name="perennial-model", workers=1, logging={"access": {"enabled": False}})
    @bentoml.asgi_app(mounted, path="/v2")
    class PerennialModel:
        """Predicts with a Perennial bundle."""

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        async def start(self) -> None:
            """Start the runtime if nobody else has."""
            if mounted.runtime is None:
                mounted.runtime = await start_runtime(Settings())

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        async def stop(self) -> None:
            """End the runtime if it is ours."""
            if mounted.owns_runtime and mounted.runtime is not None:
                await mounted.runtime.close()

        @bentoml.api  # type: ignore[untyped-decorator]
        async def predict(self, rows: dict[str, list[Any]], ctx: bentoml.Context) -> dict[str, list[Any]]:
            """Predict rows given as columns; answers with the outputs as columns."""
            assert mounted.runtime is not None
            ctx.response.headers["x-model-revision"] = mounted.runtime.predictor.settings.revision
            return await predict_columns(mounted.runtime.predictor, rows, ctx)

    return PerennialModel


async def predict_columns(predictor: Predictor, rows: dict[str, list[Any]], ctx: Any) -> dict[str, list[Any]]:
    """Predict and log as the v2 protocol does, with BentoML's errors."""
    settings = predictor.settings
    origin = read_origin(ctx.request.headers.get, f"{settings.namespace}/{settings.deployment}")
    ctx.response.headers["x-prediction-id"] = origin.prediction_id
    n_rows = max((len(values) for values in rows.values()), default=0)
    if n_rows > settings.max_rows:
        raise InvalidArgument(f"at most {settings.max_rows} rows are allowed at once")
    try:
        # BentoML reads more than JSON: what can't be written as such would take a whole message of the log along.
        orjson.dumps(rows)
    except orjson.JSONEncodeError as error:
        raise InvalidArgument(f"rows: has a value that isn't JSON: {error}") from error
    try:
        predictor.admit()
        try:
            prediction = await predictor.predict(Rows(n_rows, rows), origin)
        finally:
            predictor.release()
    except ModelError as error:
        raise BentoMLException(error.message) from error
    except RequestError as error:
        kind = ServiceUnavailable if error.status == 429 else InvalidArgument  # noqa: PLR2004
        raise kind(error.message) from error
    ctx.response.headers.update(dict(describe_outliers(prediction.outlier_scores)))
    return {name: values.tolist() for name, values in prediction.outputs.items()}


PerennialModel = build_service()
