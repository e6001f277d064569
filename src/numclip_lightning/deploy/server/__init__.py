"""A server of predictions: FastAPI, decoders in processes of their own, batches over a short window, and a page."""
