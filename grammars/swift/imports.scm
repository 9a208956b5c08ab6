(source_file (import_declaration) @import)

(ERROR (import_declaration) @import)
