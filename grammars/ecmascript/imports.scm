(program (import_statement) @import)
(program (export_statement source: (_)) @import)

((program [
    (lexical_declaration (variable_declarator value: (call_expression function: (identifier) @_require)))
    (variable_declaration (variable_declarator value: (call_expression function: (identifier) @_require)))
    (lexical_declaration (variable_declarator
      value: (member_expression object: (call_expression function: (identifier) @_require))))
    (variable_declaration (variable_declarator
      value: (member_expression object: (call_expression function: (identifier) @_require))))
    (expression_statement (call_expression function: (identifier) @_require))
  ] @import)
  (#one-of? @_require "require"))

; const a = await import("b"), and const A = lazy(() => import("b"))
(program (lexical_declaration (variable_declarator
  value: (await_expression (call_expression function: (import))))) @import)
(program (lexical_declaration (variable_declarator
  value: (call_expression arguments: (arguments (arrow_function body: (call_expression function: (import))))))) @import)

(ERROR (import_statement) @import)
(ERROR (export_statement source: (_)) @import)

((ERROR [
    (lexical_declaration (variable_declarator value: (call_expression function: (identifier) @_require)))
    (variable_declaration (variable_declarator value: (call_expression function: (identifier) @_require)))
  ] @import)
  (#one-of? @_require "require"))
