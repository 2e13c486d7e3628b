"""Model files taken apart and put together again, with a checksum that fits."""

import json
import struct

import safetensors.numpy

from fastgd import model_file


def parts(blob):
    """Return the metadata and the tensors of a file."""
    (length,) = struct.unpack("<Q", blob[:8])
    text = json.loads(blob[8 : 8 + length])["__metadata__"]["fastgd"]
    return json.loads(text), {name: tensor.copy() for name, tensor in safetensors.numpy.load(blob).items()}


def sealed(metadata, tensors):
    """Return the file of metadata and tensors."""
    text = json.dumps(metadata, sort_keys=True)
    return safetensors.numpy.save(tensors, {"fastgd": text, "sha256": model_file.checksum(text, tensors)})


def altered(blob, change):
    """Return the file after `change(metadata, tensors)`."""
    metadata, tensors = parts(blob)
    change(metadata, tensors)
    return sealed(metadata, tensors)
