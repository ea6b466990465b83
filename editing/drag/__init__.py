"""DragGAN (2305.10973): points of a picture are pulled to their targets by moving its latent code."""
