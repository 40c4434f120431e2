"""Networks of a bundle: ONNX graphs on one thread."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput, Unsupported

MISSING = "This bundle holds a network, which needs onnxruntime."


class OnnxNetwork:
    """Runs one graph. A call takes the inputs by name and gives the outputs in order."""

    def __init__(self, graph: bytes) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise Unsupported(MISSING, "Install it: pip install onnxruntime.") from error
        options = onnxruntime.SessionOptions()
        # One user at a time on one thread: a second one costs more than it brings, and idle ones must not spin.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # an arena keeps the largest block it ever needed
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a class of its own for everything that can be wrong with a graph
            rule = f"A network of this bundle cannot be loaded (onnxruntime says {type(error).__name__})."
            raise BadInput(rule, "Make the bundle again from its run.") from error
        self.inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, **inputs: np.ndarray) -> list[np.ndarray]:
        return self._session.run(None, inputs)
