"""Stand-ins for containers whose libraries the tests do without: the attributes and methods that the real ones have."""

from __future__ import annotations

import torch


class Boxes:
    """detectron2.structures.Boxes: float32 (N, 4) under `tensor`."""

    def __init__(self, tensor):
        self.tensor = torch.as_tensor(tensor, dtype=torch.float32)

    def __len__(self):
        return len(self.tensor)


class Instances:
    """detectron2.structures.Instances: public attributes are fields, all of one length."""

    def __init__(self, image_size, **fields):
        self._image_size = image_size
        self._fields = {}
        for name, value in fields.items():
            self.set(name, value)

    @property
    def image_size(self):
        return self._image_size

    def __setattr__(self, name, value):
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def __getattr__(self, name):
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name, value):
        assert not self._fields or len(self) == len(value)
        self._fields[name] = value

    def get_fields(self):
        return self._fields

    def __len__(self):
        return len(next(iter(self._fields.values())))


class Tensors:
    """ultralytics.engine.results.BaseTensor, with what its Boxes and Masks add."""

    def __init__(self, data, orig_shape):
        self.data, self.orig_shape = data, orig_shape

    def __len__(self):
        return len(self.data)

    @property
    def xyxy(self):
        return self.data[:, :4]

    @property
    def conf(self):
        return self.data[:, -2]


class Results:
    """ultralytics.engine.results.Results."""

    def __init__(self, orig_img, path, names, boxes=None, masks=None):
        self.orig_img, self.orig_shape, self.path, self.names = orig_img, orig_img.shape[:2], path, names
        self.boxes = None if boxes is None else Tensors(boxes, self.orig_shape)
        self.masks = None if masks is None else Tensors(masks, self.orig_shape)

    def __len__(self):
        return next((len(held) for held in (self.boxes, self.masks) if held is not None), 0)
