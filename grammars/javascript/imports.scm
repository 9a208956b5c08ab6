(program (import_statement) @import)
(program (export_statement source: (_)) @import)

((program (lexical_declaration (variable_declarator value: (call_expression function: (identifier) @_require))) @import)
  (#one-of? @_require "require"))

(ERROR (import_statement) @import)
(ERROR (export_statement source: (_)) @import)

((ERROR (lexical_declaration (variable_declarator value: (call_expression function: (identifier) @_require))) @import)
  (#one-of? @_require "require"))
