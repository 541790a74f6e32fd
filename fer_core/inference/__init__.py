"""A served model and pictures -> faces with seven probabilities (ONNX Runtime, OpenCV)."""
