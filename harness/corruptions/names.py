"""The corruptions by name, in the order of the paper, and their groups. No torch here.

Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (arXiv 1903.12261): 15 that robustness is judged by and 4 more to tune with.
"""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}

EXTRA = GROUPS["extra"]
MAIN = tuple(name for group, names in GROUPS.items() if group != "extra" for name in names)

SEVERITIES = (1, 2, 3, 4, 5)
