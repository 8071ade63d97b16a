"""The same graph with fewer bits."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from data_miner_export.graph import GraphSpec, Normalise, quiet

Precision = Literal["fp32", "fp16", "int8"]
CALIBRATION: Final = "dynamic: weights by output channel, activations by their range at each run"


def halved(spec: GraphSpec) -> GraphSpec:
    """The module in half precision; pixels are normalised, and vectors made unit, in single."""
    module = copy.deepcopy(spec.module).half()
    for part, own in zip(module.modules(), spec.module.modules(), strict=True):
        if isinstance(part, Normalise):
            part.float().load_state_dict(own.state_dict())
    return replace(spec, module=module)


def write_int8(single: Path, path: Path) -> None:
    """Weights of matrix products in 8 bits; activations are measured at each run.

    Activations share one scale a run, so inputs that run together touch each other's numbers.
    """
    import onnx  # noqa: PLC0415  # only where a graph is quantised
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    model = onnx.load(single)
    # Shapes that the tracer wrote are stricter than those that the quantiser infers.
    del model.graph.value_info[:]
    with quiet():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
