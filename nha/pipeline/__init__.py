"""From a video to a finished avatar in one call: the steps of the other packages, one after the other.

- `settings`: what a user chooses, and the named qualities.
- `make`: the steps; `steps` skips finished ones, `estimate` says beforehand how long they take.
- `report`: the verdict on the result, as text and as HTML.
"""
