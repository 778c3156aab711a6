"""Text to training batches: the tokenizer, packed examples, canvases and masks."""
