"""The output side: predicted words, and the tokens that neurons promote and suppress."""
