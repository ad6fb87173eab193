"""Where patches lie along a mask's boundary, how they are cut out, how their answers are put back.

Pure functions on arrays. Nothing here is larger than the instance: scores, the choice of boxes and merging
happen in a window around the mask's box, so small objects cost little in large photos.

Pixels are integer, (0, 0) the top left one. Boxes are int64 x1 y1 x2 y2, end exclusive; a square of side P
centred on pixel (x, y) starts at (x - P // 2, y - P // 2). Beyond the image's border lies a copy of its edge
pixels, so the border itself is no object boundary.
"""

from bpr_cli.patches.boxes import OBJECT, SCHEMES, TIE_ORDERS, WHOLE, boundary_scores, propose_boxes
from bpr_cli.patches.cutting import crop, resize_patches
from bpr_cli.patches.merging import PLAIN, Caution, Probabilities, hann_weights, merge_patches, merged_probabilities
from bpr_cli.patches.window import Window, window_around

__all__ = [
    "OBJECT",
    "PLAIN",
    "SCHEMES",
    "TIE_ORDERS",
    "WHOLE",
    "Caution",
    "Probabilities",
    "Window",
    "boundary_scores",
    "crop",
    "hann_weights",
    "merge_patches",
    "merged_probabilities",
    "propose_boxes",
    "resize_patches",
    "window_around",
]
