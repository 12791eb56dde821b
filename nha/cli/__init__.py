"""The command `nha`: one sub-command per step, with the same option names everywhere."""
