; nothing is imported: the files of a folder are one module
