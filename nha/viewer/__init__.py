"""The viewer: an avatar in the browser or in a notebook, with sliders and a free camera."""
