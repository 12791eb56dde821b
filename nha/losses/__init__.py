"""The loss terms of `docs/method.md`, section 4.

One file for each kind of loss, with a pure function of tensors and its term, which takes the function's arguments from
a `LossInputs`. `terms.py` is the table of all terms. To add a loss: write its function, add its row to the table, and
add its weight's setting (`w_<name>`) to `nha.optimization.config.LossSettings`.
"""
