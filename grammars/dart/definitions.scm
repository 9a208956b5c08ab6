(type_alias . (type_identifier) @definition.name) @definition.type
(declaration (function_signature name: (_) @definition.name)) @definition.function
(declaration (constructor_signature name: (_) @definition.name . parameters: (_))) @definition.function

((program (static_final_declaration_list (static_final_declaration . (identifier) @definition.name)) @definition.constant)
  (#set! lead "const_builtin final_builtin type_identifier"))

(declaration (constant_constructor_signature (identifier) @definition.name)) @definition.function
(enum_constant name: (_) @definition.name) @definition.constant

; each variable and field
(program (initialized_identifier_list (initialized_identifier . (identifier) @definition.name @definition.constant)))
(declaration (initialized_identifier_list (initialized_identifier . (identifier) @definition.name @definition.constant)))
(declaration
  (static_final_declaration_list (static_final_declaration . (identifier) @definition.name))) @definition.constant

; functions with a body; their scopes have no names
((function_signature name: (_) @definition.name) . (function_body (_) @definition.body) @definition.function
  (#set! lead "function_signature annotation"))

((method_signature (_ (identifier) @definition.name . (formal_parameter_list))) . (function_body (_) @definition.body) @definition.function
  (#set! lead "method_signature annotation"))

((method_signature (_ (identifier) @definition.name . (type_parameters))) . (function_body (_) @definition.body) @definition.function
  (#set! lead "method_signature annotation"))

((method_signature (getter_signature name: (_) @definition.name)) . (function_body (_) @definition.body) @definition.function
  (#set! lead "method_signature annotation"))

((method_signature (operator_signature (binary_operator) @definition.name)) . (function_body (_) @definition.body) @definition.function
  (#set! lead "method_signature annotation"))
