"""From results and ground truth to training patches: which detections, which target, which shard."""
