"""The limit: uvicorn, orjson and the model's two calls, many requests to a call. No validation, no metrics, no log."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import orjson

model = joblib.load(os.environ["BENCH_MODEL"])
waiting: list[tuple[np.ndarray, asyncio.Future]] = []


def predict_waiting() -> None:
    """Predict all requests that came in this turn of the event loop in one call each."""
    batch = waiting.copy()
    waiting.clear()
    rows = np.concatenate([rows for rows, _ in batch]) if len(batch) > 1 else batch[0][0]
    predict = model.predict(rows).tolist()
    probability = model.predict_proba(rows)[:, 1].tolist()
    start = 0
    for rows, future in batch:
        stop = start + len(rows)
        future.set_result((predict[start:stop], probability[start:stop]))
        start = stop


async def app(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]
) -> None:
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:
        tensor = orjson.loads(body)["inputs"][0]
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not waiting:
            loop.call_soon(predict_waiting)
        waiting.append((np.array(tensor["data"], dtype=np.float64).reshape(tensor["shape"]), future))
        predict, probability = await future
        n = len(predict)
        answer = orjson.dumps(
            {
                "model_name": "bench",
                "outputs": [
                    {"name": "predict", "shape": [n], "datatype": "INT64", "data": predict},
                    {"name": "probability", "shape": [n], "datatype": "FP64", "data": probability},
                ],
            }
        )
    else:
        answer = b"{}"
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})
