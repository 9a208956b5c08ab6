(source_file (import_directive) @import)

(ERROR (import_directive) @import)
