"""Model files: which there are to be had, under which licence, and how one comes onto this machine."""
