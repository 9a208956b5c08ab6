; inherits: c
(field_declaration declarator: (function_declarator declarator: (_) @definition.name)) @definition.function
(field_declaration
  declarator: (pointer_declarator declarator: (function_declarator declarator: (_) @definition.name)))
  @definition.function
(field_declaration
  declarator: (reference_declarator (function_declarator declarator: (_) @definition.name))) @definition.function
(field_declaration declarator: (reference_declarator (field_identifier) @definition.name)) @definition.constant
(declaration
  declarator: (reference_declarator (function_declarator declarator: (_) @definition.name))) @definition.function

((template_declaration (declaration declarator: (function_declarator declarator: (_) @definition.name))
  @definition.function)
  (#set! lead "template template_parameter_list requires_clause"))

((alias_declaration name: (_) @definition.name) @definition.type
  (#set! lead "template template_parameter_list requires_clause"))

((concept_definition name: (_) @definition.name) @definition.type
  (#set! lead "template template_parameter_list requires_clause"))

(declaration_list (declaration declarator: (init_declarator declarator: (_) @definition.name)) @definition.constant)
