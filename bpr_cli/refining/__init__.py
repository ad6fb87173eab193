"""From coarse results to refined ones: prepare patches, predict in full batches, paste."""
