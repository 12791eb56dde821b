"""The published annotators' networks, written afresh from `networks.md`; one file each."""
