"""How a scanner sees tissue: scatterers through a point spread function, detected and log-compressed.

The convolution model of Bamber and Dickinson (Phys Med Biol 25:463, 1980, doi:10.1088/0031-9155/25/3/006) with random
point scatterers as in Jensen's Field (Med Biol Eng Comput 34 Suppl 1:351, 1996). Echo strengths are in dB against
fibroglandular tissue. An image always shows 40 mm of depth; lengths are given in pixels of a 320-row image and scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]  # (height, width)
Image: TypeAlias = NDArray[np.uint8]  # (height, width)

DEPTH_MM = 40.0  # from the skin to the lowest row
FREQUENCY_MHZ = 10.0  # centre of a linear breast probe's band
REFERENCE_ROWS = 320  # rows of the image that lengths are given for: 0.125 mm a pixel
STRIP = 16  # rows over which the lateral width is taken as constant
GREY_TOE = 0.04  # of white, shown where a straight map would reach black: scanners bend the map there
DECIBEL = np.float32(np.log(10) / 20)  # of an amplitude


@dataclass(frozen=True)
class Probe:
    """What the scanner does to echoes; lengths are in pixels of a 320-row image (0.125 mm)."""

    axial: float = 0.95  # px, deviation of the pulse's envelope
    lateral: float = 1.6  # px, deviation of the beam at its focus
    focus: float = 0.4  # of the depth
    focal_range: float = 0.35  # of the depth, distance from the focus at which the beam is sqrt(2) wider
    clutter_db: float = -25.0  # of side lobes and reverberation against the surroundings
    looks: int = 4  # steering angles whose envelopes are averaged (spatial compounding)
    smoothing: tuple[float, float] = (0.45, 0.75)  # px of the image, down and across: the scanner's speckle reduction
    noise_db: float = -40.0  # of the receiver at the skin, before time-gain compensation
    gain_db: float = 6.0  # by which that compensation lifts the noise at full depth
    dynamic_range_db: float = 46.0  # shown between black and white
    white_db: float = 17.5  # of the brightest grey above the gain reference


class Tissue(NamedTuple):
    """What the beam meets."""

    echo_db: Field  # backscatter against fibroglandular tissue
    interfaces: Field  # amplitude of smooth reflectors; fibroglandular tissue has 1
    excess_db: Field  # loss left over by time-gain compensation, two ways


def envelope(amplitude: Field, interfaces: Field, probe: Probe, rng: np.random.Generator) -> Field:
    """Return the detected echo amplitude (height, width), its square averaging `amplitude` squared where that is flat.

    The signal is complex, demodulated from the carrier: a pixel is wider than half a wavelength (0.08 mm at 10 MHz),
    so the carrier's phase at a scatterer is uniform, a pixel's reflectivity a circular complex normal, and one look at
    an even region has Rayleigh statistics. `interfaces` reflect in phase; the beam widens away from its focus.
    """
    height, width = amplitude.shape
    scale = height / REFERENCE_ROWS
    pulse, here = _psf(probe.axial * scale), np.ones(1)
    detected = np.zeros((height, width), np.float32)
    for _ in range(probe.looks):
        echoes = rng.standard_normal((2, height, width), dtype=np.float32) * (amplitude * np.float32(np.sqrt(0.5)))
        echoes[0] += interfaces
        for part in echoes:
            pulsed = cv2.sepFilter2D(part, -1, here, pulse, borderType=cv2.BORDER_REFLECT)
            for top in range(0, height, STRIP):
                defocus = ((top + STRIP / 2) / height - probe.focus) / probe.focal_range
                beam = _psf(probe.lateral * scale * float(np.hypot(1.0, defocus)))
                rows = slice(top, top + STRIP)
                part[rows] = cv2.sepFilter2D(pulsed[rows], -1, beam, here, borderType=cv2.BORDER_REFLECT)
        detected += as_field(cv2.magnitude(echoes[0], echoes[1]))
    return detected / np.float32(probe.looks)


def as_field(array: Any) -> Field:
    """Return `array` as float32, without a copy where it is already."""
    return np.asarray(array, np.float32)


def _psf(deviation: float) -> NDArray[np.float64]:
    """A Gaussian of unit energy, so that speckle keeps its power whatever the beam's width."""
    deviation = max(deviation, 0.5)  # px: narrower is not resolved by the grid
    kernel = cv2.getGaussianKernel(2 * int(np.ceil(3 * deviation)) + 1, deviation)
    return np.asarray(kernel / np.linalg.norm(kernel), np.float64)


def scan(tissue: Tissue, probe: Probe, rng: np.random.Generator) -> Image:
    """Return the picture, (height, width) uint8: insonify, detect and compress to grey levels."""
    height = len(tissue.echo_db)
    gone = as_field(cv2.exp(-tissue.excess_db * DECIBEL))
    amplitude = as_field(cv2.exp(tissue.echo_db * DECIBEL)) * gone
    reach = 2 * height // 25 + 1  # px, about 3 mm
    haze = as_field(cv2.blur(amplitude, (reach, reach))) * np.float32(10 ** (probe.clutter_db / 20))
    # clutter and the receiver's noise pass the same filters as echoes, so their powers add before detection
    noise = 10 ** ((probe.noise_db + np.linspace(0, probe.gain_db, height)[:, None]) / 20)
    echoes = envelope(np.sqrt(amplitude**2 + haze**2 + as_field(noise**2)), tissue.interfaces * gone, probe, rng)
    level = as_field(cv2.log(echoes + np.float32(1e-6))) / DECIBEL
    level = as_field(cv2.GaussianBlur(level, (0, 0), probe.smoothing[1], sigmaY=probe.smoothing[0]))
    reference = np.float32(np.percentile(level[::4, ::4], 90))  # an examiner sets the gain by what is on the screen
    grey = (level - reference - np.float32(probe.white_db)) / np.float32(probe.dynamic_range_db) + 1
    grey = (grey + np.sqrt(grey * grey + 4 * GREY_TOE**2)) / 2
    return np.asarray(np.clip(grey * 255, 0, 255), np.uint8)
