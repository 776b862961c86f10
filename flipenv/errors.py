"""Errors that state what was given, what was expected and the remedy."""

from __future__ import annotations


class FlipError(ValueError):
    """Base class of all errors that this package raises deliberately."""


class BoxError(FlipError):
    """A box that is not (top, left, bottom, right) in pixels of its image."""


class ImageError(FlipError):
    """An image that is not a readable 8-bit grey picture."""


class MaskError(FlipError):
    """A mask that does not match its image."""


class ConfigError(FlipError):
    """An unknown option, or a value that it does not accept."""


class SourceError(FlipError):
    """A collection of cases that cannot be read, or a case that is not in it."""


class ScorerError(FlipError):
    """A scorer that did not return one nodule score in [0, 1] per canvas."""


class ActionError(FlipError):
    """An action of the wrong shape, type or value."""


class EpisodeError(FlipError, RuntimeError):
    """`step` before `reset`, or after the end of the episode."""


class MissingDependencyError(FlipError, ImportError):
    """An optional package that a requested feature needs is not installed."""


class OrientationWarning(UserWarning):
    """An image that viewers mirror or rotate by its EXIF data or TIFF tags; its pixels are used as stored."""
