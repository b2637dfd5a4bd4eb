"""KServe's Python server around a Model of one's own, over the v2 protocol."""

import os
import uuid

import joblib
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Pipeline(Model):
    """The pipeline."""

    def load(self) -> bool:
        self.model = joblib.load(os.environ["BENCH_MODEL"])
        self.ready = True
        return self.ready

    def predict(self, payload: InferRequest, *_: object, **__: object) -> InferResponse:
        rows = payload.inputs[0].as_numpy()
        results = {
            "predict": self.model.predict(rows).astype(np.int64),
            "probability": self.model.predict_proba(rows)[:, 1],
        }
        outputs = []
        for name, values in results.items():
            datatype = "INT64" if values.dtype == np.int64 else "FP64"
            output = InferOutput(name=name, shape=list(values.shape), datatype=datatype)
            output.set_data_from_numpy(values, binary_data=False)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id or uuid.uuid4().hex, model_name=self.name, infer_outputs=outputs
        )


if __name__ == "__main__":
    pipeline = Pipeline("bench")
    pipeline.load()
    ModelServer(http_port=int(os.environ["BENCH_PORT"]), workers=1, enable_grpc=False).start([pipeline])
