"""Checkpoints of Hugging Face to verified ONNX models; only this package knows torch."""
