(compilation_unit (import_declaration) @import)

(ERROR (import_declaration) @import)
