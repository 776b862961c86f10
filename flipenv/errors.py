"""Errors that name what was given, what was expected and what to do."""

from __future__ import annotations


class FlipError(ValueError):
    """Base of every error that this package raises on purpose."""


class BoxError(FlipError):
    """A box that is not (top, left, bottom, right) in pixels of its image."""


class ImageError(FlipError):
    """An image that is not a readable 8-bit grey picture."""


class MaskError(FlipError):
    """A mask that does not belong to its image."""


class ConfigError(FlipError):
    """An option that does not exist, or a value that it does not take."""


class SourceError(FlipError):
    """A collection of cases that cannot be read, or a case that it does not hold."""


class ScorerError(FlipError):
    """A scorer that did not return one nodule score in [0, 1] a canvas."""


class ActionError(FlipError):
    """An action of the wrong shape, type or value."""


class EpisodeError(FlipError, RuntimeError):
    """`step` before `reset`, or after the end of the episode."""


class MissingDependencyError(FlipError, ImportError):
    """An optional package that a requested feature needs."""


class OrientationWarning(UserWarning):
    """An image that viewers mirror or turn by its EXIF data or TIFF tags; its pixels are taken as they are stored."""
