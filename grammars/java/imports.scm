(program (import_declaration) @import)
