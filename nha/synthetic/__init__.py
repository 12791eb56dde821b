"""Synthetic subjects: videos of synthetic people with exact annotations.

Reading order: `subject` (appearance sampled from a seed), `motion` (head parameters of all frames), `anatomy` (facial
features of the template), `body` and `hair` (additional surfaces), `scene` (all surfaces in one mesh), `visibility`
(rasterisation), `materials`, `light`, `rendering` (a frame), `annotations` (its ground truth), `write_dataset`.
"""
