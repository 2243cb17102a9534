"""Files and pictures, without torch: read, fit to the working size, return to the native size, write."""

from mgie.images.files import encode_image, save_image
from mgie.images.mask import open_mask
from mgie.images.native import return_to_native
from mgie.images.photo import Metadata, Photo, open_image, open_photo
from mgie.images.planes import Box
from mgie.images.provenance import Edit, read_edits, with_edits
from mgie.images.rearrangement import Rearrangement
from mgie.images.working_size import WorkingSize, resize

__all__ = [
    "Box",
    "Edit",
    "Metadata",
    "Photo",
    "Rearrangement",
    "WorkingSize",
    "encode_image",
    "open_image",
    "open_mask",
    "open_photo",
    "read_edits",
    "resize",
    "return_to_native",
    "save_image",
    "with_edits",
]
