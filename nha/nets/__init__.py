"""The networks of the avatar and of its perceptual loss: modules from tensors to tensors."""
