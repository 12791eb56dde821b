"""Floor 3: fitting an avatar to a tracked video in three stages."""
