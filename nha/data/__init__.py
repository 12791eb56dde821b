"""Dataset folders, tracking files and batches of annotated frames."""
