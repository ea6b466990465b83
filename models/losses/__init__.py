"""Losses: networks that say how alike two pictures are, to a face recogniser or to the eye."""
