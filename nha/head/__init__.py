"""Floor 1: head models. Files of the FLAME family become `HeadAssets`, and those a `HeadModel`."""
