"""Floor 0: types, conventions and pure functions that every other package builds on."""
