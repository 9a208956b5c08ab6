"""Model files: the catalogue, licences, downloads, and the models on this machine."""
