"""Files and pictures, without torch: read, fit to the working size, return to the native size, write."""

from mgie.images.files import open_image, save_image
from mgie.images.native import return_to_native
from mgie.images.working_size import WorkingSize, resize

__all__ = ["WorkingSize", "open_image", "resize", "return_to_native", "save_image"]
