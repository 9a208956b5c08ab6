(program (lexical_declaration . (variable_declarator name: (identifier) @definition.name) .) @definition.constant)
(program (variable_declaration . (variable_declarator name: (identifier) @definition.name) .) @definition.constant)

((program (export_statement declaration:
  (lexical_declaration . (variable_declarator name: (identifier) @definition.name) .) @definition.constant))
  (#set! lead "export"))
