"""Playing with an avatar by hand: sliders and a free camera, in a browser or in a notebook."""
