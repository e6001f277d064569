"""NumCLIP Lightning: reading ordered quantities from images with CLIP."""

__version__ = "0.1.0"
