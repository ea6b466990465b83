"""GANPaint (2005.07727): objects are painted in or out by setting the units of one layer."""
