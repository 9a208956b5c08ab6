(stylesheet (import_statement) @import)
