"""Generated scenes of 1 to 60 things."""
