"""One ONNX graph of a model and its repair: made, compared with `attach`, and written."""
