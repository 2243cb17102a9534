"""The parts of the model, one file for each box of the figure, and `mgie`, the whole that is trained.

Letters in the shapes of all docstrings: B batch, L text tokens, P image patches, N visual tokens, D
language-model width, Q edit queries, C UNet context width, H W pixels, h w latents, K noise draws for each
picture.
"""
