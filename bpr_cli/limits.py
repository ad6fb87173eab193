"""How large an image may be, the same for photos, masks and RLE."""

MAX_PIXELS = 500_000_000  # of one image, unless an option says otherwise; a photo takes three bytes each
MOST_PIXELS = 2**30  # OpenCV decodes no more
