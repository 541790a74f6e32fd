"""Networks by name, their serving graph and their export to ONNX."""
