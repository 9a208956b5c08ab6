(stylesheet [(import_statement) (use_statement) (forward_statement)] @import)

(ERROR [(import_statement) (use_statement) (forward_statement)] @import)
