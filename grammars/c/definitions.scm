(declaration declarator: (function_declarator declarator: (_) @definition.name)) @definition.function
(declaration declarator: (_ declarator: (function_declarator declarator: (_) @definition.name))) @definition.function

; a pointer to functions
(field_declaration declarator: (function_declarator
  declarator: (parenthesized_declarator (pointer_declarator declarator: (_) @definition.name)))) @definition.function

(type_definition declarator: (_) @definition.name) @definition.type
(preproc_def name: (_) @definition.name) @definition.constant
(preproc_function_def name: (_) @definition.name) @definition.function
(enumerator name: (_) @definition.name) @definition.constant
(field_declaration declarator: (field_identifier) @definition.name) @definition.constant
(field_declaration declarator: (pointer_declarator declarator: (field_identifier) @definition.name)) @definition.constant
(field_declaration declarator: (array_declarator declarator: (field_identifier) @definition.name)) @definition.constant

; variables outside of functions, also in include guards
(translation_unit (declaration declarator: [
  (identifier) @definition.name
  (pointer_declarator declarator: (identifier) @definition.name)
  (array_declarator declarator: (identifier) @definition.name)
  (init_declarator declarator: (_) @definition.name)
]) @definition.constant)
(preproc_ifdef (declaration declarator: [
  (identifier) @definition.name
  (pointer_declarator declarator: (identifier) @definition.name)
  (array_declarator declarator: (identifier) @definition.name)
  (init_declarator declarator: (_) @definition.name)
]) @definition.constant)
