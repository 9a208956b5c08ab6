((chunk (variable_declaration (assignment_statement (variable_list . name: (_) @definition.name)) @definition.constant))
  (#set! lead "local"))

(chunk (assignment_statement (variable_list . name: (_) @definition.name)) @definition.constant)
