(source_file (import) @import)

(ERROR (import) @import)
