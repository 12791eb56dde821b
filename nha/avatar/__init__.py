"""The avatar: head parameters to an image, and checkpoints."""
