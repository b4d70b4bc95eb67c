"""Rankings of neurons by concept: that of txray beside those of NeuroX, written anew from the papers."""
