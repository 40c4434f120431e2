"""Trained models without the libraries that trained them: what a bundle computes with. numpy alone, and onnxruntime for networks."""
