(program (import_statement) @import)
(program (export_statement source: (_)) @import)

((program (lexical_declaration (variable_declarator value: (call_expression function: (identifier) @_require))) @import)
  (#one-of? @_require "require"))
