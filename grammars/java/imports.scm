(program (import_declaration) @import)

(ERROR (import_declaration) @import)
